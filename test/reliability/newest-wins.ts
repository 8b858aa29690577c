/**
 * The property: random histories of set, delete, late, duplicate, redrive and refill over several workers end at the newest
 * version. Workers run side by side over one real Redis; each has its own local tier.
 */
import * as fc from 'fast-check';
import { machineName } from '../../machines/snapshot.ts';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import { createMemoryAudit } from '../../src/adapters/memory-audit.ts';
import { createMemoryLeases } from '../../src/adapters/memory-leases.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { type Message, messageId } from '../../src/core/change.ts';
import { chunkOf } from '../../src/core/chunk.ts';
import { fenceKeyOf } from '../../src/core/fence.ts';
import type { DeadLetter, RecordSource, RedisTier } from '../../src/core/ports.ts';
import { originalForm, type Service } from '../../src/core/service.ts';
import { formatVersion } from '../../src/core/version.ts';
import { createParse } from '../../src/pipeline/parse.ts';
import { createPipeline } from '../../src/pipeline/pipeline.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createLoneCoherence } from '../../src/read/fills.ts';
import { createGenerations } from '../../src/read/generations.ts';
import { createReader, type Reader } from '../../src/read/reader.ts';
import { createMemoryQueue, type MemoryQueue } from '../../src/testing/memory-queue.ts';
import { productionChart, silentLog } from '../../src/testing/paths.ts';
import { createVirtualClock } from '../../src/testing/virtual-clock.ts';
import { aService } from '../support/service.ts';
import {
  type AcceptedWrite,
  type Acknowledged,
  EMPTY_HISTORY,
  type FinalLocal,
  type Truth,
} from './history.ts';
import { checkInvariants, describeViolations } from './invariants.ts';

const WORKERS = 3;
const IDS = ['1', '2'] as const;
const START_MS = Date.UTC(2026, 0, 1);
const chart = productionChart();

const step = fc.record({
  kind: fc.constantFrom('set', 'set', 'set', 'delete', 'late', 'duplicate', 'redrive', 'refill'),
  service: fc.constantFrom('inline', 'fetched'),
  id: fc.constantFrom(...IDS),
  worker: fc.nat(WORKERS - 1),
  partition: fc.nat(1),
  /** Which earlier message, or how late. */
  pick: fc.nat(1_000),
  /** Whether it goes into one chunk with the step before. */
  isTogether: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** @throws the history that ended wrong, shrunk, with its trails */
export async function checkNewestWins(options: {
  readonly url: string;
  readonly cases: number;
  readonly seed: number;
  /** For a planted bug: what stands between the workers and the Redis tier. */
  readonly plant?: (tier: RedisTier, redis: RedisClient) => RedisTier;
}): Promise<void> {
  const redis = connectRedis({
    url: options.url,
    name: 'newest-wins',
    connectTimeoutMs: 5_000,
    commandTimeoutMs: 10_000,
    onError: () => undefined,
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
  let cases = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 40 }), async (steps) => {
        cases += 1;
        const tier = createRedisTier({ redis, log: undefined });
        const planted = options.plant?.(tier, redis) ?? tier;
        const found = await new Case(redis, planted, `w${options.seed}x${cases}`).run(steps);
        if (found !== '') throw new Error(found);
      }),
      { numRuns: options.cases, seed: options.seed },
    );
  } finally {
    redis.disconnect();
  }
}

/** A source of truth that answers from memory. */
class Records {
  readonly truth: Truth[] = [];
  readonly #texts = new Map<string, string | null>();
  readonly #versions = new Map<string, number>();
  readonly #planned = new Map<string, number>();

  /** A change that is to happen: its version, and how to let it happen. Changes that happen late change nothing. */
  plan(id: string, key: string, op: 'upsert' | 'delete'): { readonly version: number; happen(): void } {
    const version = (this.#planned.get(id) ?? 0) + 1;
    this.#planned.set(id, version);
    const text = op === 'delete' ? null : JSON.stringify({ id, version });
    const keepsVersion = op === 'delete';
    this.truth.push({ key, version: `counter:${version}`, op, text: text ?? undefined, keepsVersion });
    return {
      version,
      happen: () => {
        if (version <= (this.#versions.get(id) ?? 0)) return;
        this.#versions.set(id, version);
        this.#texts.set(id, text);
      },
    };
  }

  readonly source: RecordSource = {
    fetchMany: async (requests) =>
      requests.map(({ id }) => {
        const text = this.#texts.get(id) ?? null;
        return text === null ? { kind: 'absent' } : { kind: 'record', text };
      }),
    close: async () => undefined,
  };
}

/** What a message tells, and what happens to its record by the time it is sent. */
interface About {
  readonly version: number;
  readonly op?: 'delete';
  readonly happen?: () => void;
}

interface Worker {
  readonly queue: MemoryQueue;
  readonly reader: Reader;
  /** Runs what is due, and what becomes due. */
  work(): Promise<void>;
  locals(keys: readonly string[]): Promise<FinalLocal[]>;
}

/** One history, on keys of its own. */
class Case {
  readonly #clock = createVirtualClock(START_MS);
  readonly #records = new Records();
  readonly #audit = createMemoryAudit();
  readonly #deadLetters: DeadLetter[] = [];
  readonly #accepted: AcceptedWrite[] = [];
  readonly #acknowledged: Acknowledged[] = [];
  readonly #redis: RedisClient;
  readonly #tier: RedisTier;
  readonly #services: ReadonlyMap<string, Service>;
  readonly #keys: readonly string[];
  readonly #workers: readonly Worker[];
  readonly #sent: Message[] = [];
  readonly #happens = new Map<Message, () => void>();
  readonly #versions = new Map<string, number>();
  readonly #offsets = [0, 0];
  #chunks = 0;

  constructor(redis: RedisClient, tier: RedisTier, prefix: string) {
    this.#redis = redis;
    const keyOf = (service: string) => (id: string) => `${prefix}_${service}_${id}`;
    const retry = {
      attempts: 50,
      backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 },
      horizonMs: 3_600_000,
    };
    this.#services = new Map([
      ['inline', aService({ id: 'inline', keyOf: keyOf('inline'), retry })],
      [
        'fetched',
        aService({
          id: 'fetched',
          inline: false,
          source: this.#records.source,
          keyOf: keyOf('fetched'),
          retry,
        }),
      ],
    ]);
    this.#keys = [...this.#services.values()].flatMap(({ keyOf: of }) => IDS.map((id) => of(id)));
    this.#tier = this.#watched(tier);
    this.#workers = Array.from({ length: WORKERS }, (_, index) => this.#startWorker(`worker-${index}`));
  }

  /** '' when every promise was kept, else what was found. */
  async run(steps: readonly Step[]): Promise<string> {
    const plans = steps.map((one) => ({ one, messages: this.#messagesOf(one) }));
    await Promise.all(
      this.#workers.map((worker, index) =>
        this.#runLane(
          worker,
          plans.filter(({ one }) => one.worker === index),
        ),
      ),
    );
    const redis = await Promise.all(
      this.#keys.map(async (key) => {
        const [text = null, fence = null] = await this.#redis.mget(key, fenceKeyOf(key));
        return { key, text, fence };
      }),
    );
    const local = (await Promise.all(this.#workers.map((worker) => worker.locals(this.#keys)))).flat();
    await this.#redis.unlink(...this.#keys, ...this.#keys.map(fenceKeyOf));
    const violations = checkInvariants({
      ...EMPTY_HISTORY,
      acknowledged: this.#acknowledged,
      truth: this.#records.truth,
      audit: await this.#audit.find({ limit: Number.MAX_SAFE_INTEGER }),
      deadLetters: this.#deadLetters.map(({ message }) => message),
      redis,
      local,
      accepted: this.#accepted,
      localTiers: 'withinTtl',
    });
    return describeViolations(violations);
  }

  async #runLane(
    worker: Worker,
    plan: readonly {
      readonly one: Step;
      readonly messages: readonly (readonly [Message, redrive: number])[];
    }[],
  ): Promise<void> {
    let waiting: Message[] = [];
    const enqueue = async (messages: readonly Message[], redrive: number): Promise<void> => {
      for (const group of Map.groupBy(messages, ({ origin }) => origin.stream).values()) {
        const id = `chunk-${(this.#chunks += 1)}`;
        await worker.queue.enqueue([{ id, name: id, data: chunkOf(group, machineName(chart), { redrive }) }]);
      }
    };
    for (const { one, messages } of plan) {
      if (!one.isTogether && waiting.length > 0) {
        await enqueue(waiting, 0);
        waiting = [];
        await worker.work();
      }
      if (one.kind === 'refill') {
        const service = this.#services.get(one.service);
        // As the configuration has it: an inline service has no source to read through to.
        const read = service === undefined ? undefined : { ...service.read, fromSource: !service.inline };
        if (service !== undefined && read !== undefined)
          await worker.reader.get({ ...service, read }, one.id);
      }
      for (const [message, redrive] of messages) {
        this.#happens.get(message)?.();
        if (redrive === 0) waiting.push(message);
        else await enqueue([message], redrive);
      }
    }
    if (waiting.length > 0) await enqueue(waiting, 0);
    await worker.work();
  }

  /** The messages of a step, and their redrive count; what they change is planned. */
  #messagesOf({ kind, service, id, partition, pick }: Step): readonly (readonly [Message, number])[] {
    if (kind === 'refill') return [];
    if (kind === 'duplicate' || kind === 'redrive') {
      const earlier = this.#sent[pick % Math.max(1, this.#sent.length)];
      return earlier === undefined ? [] : [[earlier, kind === 'redrive' ? 1 + (pick % 3) : 0]];
    }
    const key = this.#services.get(service)?.keyOf(id) ?? '';
    const { happen, ...about } =
      service === 'inline' ? this.#inline(kind, id, pick) : this.#fetched(kind, id, key);
    const position = String(this.#offsets[partition]);
    this.#offsets[partition] = Number(position) + 1;
    const value = JSON.stringify({ serviceId: service, id, ...about });
    const message: Message = {
      origin: { stream: `t-${partition}`, epoch: 0, position },
      timestampMs: START_MS,
      key: null,
      value,
      headers: [],
    };
    this.#sent.push(message);
    if (happen !== undefined) this.#happens.set(message, happen);
    const op = about.op ?? 'upsert';
    const text = service === 'inline' && op === 'upsert' ? value : undefined;
    const version = `counter:${about.version}`;
    this.#acknowledged.push({ message: messageId(message.origin), key, version, op, text });
    return [[message, 0]];
  }

  /** A late one repeats an old version; a version is always the same operation. */
  #inline(kind: string, id: string, pick: number): About {
    const newest = this.#versions.get(id) ?? 0;
    const version = kind === 'late' && newest > 0 ? 1 + (pick % newest) : nextOf(newest, kind === 'delete');
    this.#versions.set(id, Math.max(newest, version));
    return version % 2 === 1 ? { version, op: 'delete' } : { version };
  }

  #fetched(kind: string, id: string, key: string): About {
    const op = kind === 'delete' ? 'delete' : 'upsert';
    const { version, happen } = this.#records.plan(id, key, op);
    return { version, happen, ...(op === 'delete' && { op }) };
  }

  #startWorker(name: string): Worker {
    const clock = this.#clock;
    const generations = createGenerations();
    const stored = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: 1 << 20, clock });
    const localTier = createCoherentLocalTier(stored, generations);
    const limits = { maxMessageBytes: 1 << 20, maxDepth: 64 };
    const attempt = createPipeline({
      chart,
      parse: createParse({ services: this.#services, mappingOf: () => originalForm, limits, clock }),
      localTier,
      redisTier: this.#tier,
      clock,
      log: silentLog,
      effectTimeoutMs: 30_000,
      onClosed: () => undefined,
    });
    const queue = createMemoryQueue({ clock, audit: this.#audit, deadLetters: this.#deadLetters });
    return {
      queue,
      reader: createReader({
        localTier,
        redisTier: this.#tier,
        leases: createMemoryLeases({ clock }),
        coherence: createLoneCoherence(localTier, generations),
        clock,
        instance: name,
      }),
      async work() {
        for (let next = queue.nextDueMs(); next !== undefined; next = queue.nextDueMs()) {
          clock.advanceTo(next);
          await queue.runDue((execution) => attempt({ ...execution, worker: name }));
        }
      },
      async locals(keys) {
        const entries = await localTier.getMany(keys);
        return entries.flatMap((entry) =>
          entry === undefined
            ? []
            : [{ instance: name, key: entry.key, version: formatVersion(entry.version), text: entry.text }],
        );
      },
    };
  }

  /** Notes what the fence lets through, in the order of its answers: one connection gives them in the order of its script. */
  #watched(tier: RedisTier): RedisTier {
    return {
      ...tier,
      write: async (writes) => {
        const results = await tier.write(writes);
        writes.forEach(({ key, op, version, origin }, index) => {
          const kind = results[index]?.kind;
          if (kind !== 'set' && kind !== 'evicted') return;
          const told = version === null ? '' : formatVersion(version);
          const atMs = this.#accepted.length;
          this.#accepted.push({
            key,
            version: told,
            op,
            message: messageId(origin),
            epoch: origin.epoch,
            atMs,
          });
        });
        return results;
      },
    };
  }
}

/** The next version whose parity says what is done: odd ones delete. */
function nextOf(newest: number, isDelete: boolean): number {
  const next = newest + 1;
  return (next % 2 === 1) === isDelete ? next : next + 1;
}
