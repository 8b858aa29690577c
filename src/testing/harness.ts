import { isUtf8 } from 'node:buffer';
import { machineName } from '../../machines/snapshot.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { createMemoryAudit } from '../adapters/memory-audit.ts';
import { createMemoryLeases } from '../adapters/memory-leases.ts';
import { createMemoryRedisTier } from '../adapters/memory-tiers.ts';
import { compileMappings, compileServices } from '../app/services.ts';
import { resolveConfig } from '../config/resolve.ts';
import type { Config, ConfigInput } from '../config/schema.ts';
import { type Bytes, type Message, toBytes } from '../core/change.ts';
import { systemClock } from '../core/clock.ts';
import { fail } from '../core/errors.ts';
import type { DeadLetter, Log } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import type { AuditRecord } from '../core/trail.ts';
import { createSubmit } from '../ingest/submit.ts';
import { createParse } from '../pipeline/parse.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { type CachedRecord, cachedRecordOf } from '../read/cached-record.ts';
import { createCoherentLocalTier } from '../read/coherent-local-tier.ts';
import { createLoneCoherence } from '../read/fills.ts';
import { createGenerations } from '../read/generations.ts';
import { createReader } from '../read/reader.ts';
import { createMemoryQueue } from './memory-queue.ts';
import { productionChart, silentLog } from './paths.ts';
import { createRecordedSources, type Recorded, type RecordedSources } from './recorded-source.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';

/** An object, which is sent as JSON; the exact text; the bytes; or null, Kafka's tombstone. */
export type HarnessMessage = object | string | Uint8Array | null;

export interface SendOptions {
  /** @defaultValue the first of `topics`, else `cache-message` */
  readonly topic?: string;
  /** Kafka key. */
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Kafka's own time of the message, epoch milliseconds. @defaultValue the harness's clock */
  readonly timestampMs?: number;
}

export interface HarnessOptions {
  /** As in the configuration. `http` and `postgres` sources are not asked: `records` says what they hold. */
  readonly services: NonNullable<ConfigInput['services']>;
  /** `kafka.topics` of the configuration: how the messages of each topic are read. */
  readonly topics?: NonNullable<ConfigInput['kafka']>['topics'];
  /** What the sources hold. A service with a function as source uses the function, unless it has records here. */
  readonly records?: Recorded;
  /** Where the clock stands at first, epoch milliseconds. @defaultValue the present */
  readonly startMs?: number;
  /** @defaultValue says nothing */
  readonly log?: Log;
}

/** A user's services, run in memory by the product's own parser, effects, executor and closing. */
export interface Harness {
  /**
   * Sends one message, or a list as one chunk, and runs everything that is due.
   *
   * @returns message ids, `cache-message-0@0` and on
   */
  send(messages: HarnessMessage | readonly HarnessMessage[], options?: SendOptions): Promise<string[]>;
  /** Goes on by so many milliseconds; retries run as they become due. */
  advance(ms: number): Promise<void>;
  /** Goes on until no message waits any more: every retry has run. Returns how long that took, milliseconds. */
  settle(): Promise<number>;
  /** What a message went through: one record per execution, oldest first. */
  trail(message: string): Promise<AuditRecord[]>;
  /** The states of a message in order, `received` first; a retry shows as a second `parsed`. */
  states(message: string): Promise<string[]>;
  /** A record as readers get it: local tier, then Redis, then its source. */
  get(service: string, id: string | number | bigint): Promise<CachedRecord | undefined>;
  /** What `redis-cli GET` would show; null: nothing. */
  readonly redis: { get(key: string): Promise<string | null> };
  /** The local tier's text under a key; null: nothing. */
  readonly local: { get(key: string): Promise<string | null> };
  readonly sources: RecordedSources;
  readonly deadLetters: readonly DeadLetter[];
  readonly clock: VirtualClock;
  close(): Promise<void>;
}

const DEFAULT_TOPIC = 'cache-message';
const MAX_ROWS = 10_000;

/** @throws `E_CONFIG_INVALID` with all problems of services and topics */
export function createHarness(options: HarnessOptions): Harness {
  const config = resolveHarness(options);
  const clock = createVirtualClock(options.startMs ?? Math.floor(systemClock().now()));
  const log = options.log ?? silentLog;
  const { sources, sourceOf } = createRecordedSources(options.records ?? {});
  const services = withRecords(options, compileServices(config, clock), sourceOf);
  const audit = createMemoryAudit();
  const deadLetters: DeadLetter[] = [];
  const generations = createGenerations();
  const localTier = createCoherentLocalTier(createKeyvLocalTier({ ...config.local, clock }), generations);
  const coherence = createLoneCoherence(localTier, generations);
  const redisTier = createMemoryRedisTier({ clock });
  const queue = createMemoryQueue({ clock, audit, deadLetters });
  const parse = createParse({ services, mappingOf: compileMappings(config), limits: config.limits, clock });
  const chart = productionChart();
  const attempt = createPipeline({
    chart,
    parse,
    localTier,
    redisTier,
    clock,
    log,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    onClosed: () => undefined,
  });
  const submit = createSubmit({ queue, machine: machineName(chart), limits: config.queue });
  const leases = createMemoryLeases({ clock });
  const reader = createReader({ localTier, redisTier, leases, coherence, clock, instance: 'harness' });
  const toMessages = createStamp(config, clock);
  const trail = (message: string): Promise<AuditRecord[]> => audit.find({ message, limit: MAX_ROWS });

  const advance = async (ms: number): Promise<void> => {
    const untilMs = clock.now() + ms;
    for (let next = queue.nextDueMs(); next !== undefined && next <= untilMs; next = queue.nextDueMs()) {
      clock.advanceTo(next);
      await queue.runDue(attempt);
    }
    clock.advanceTo(untilMs);
  };

  return {
    sources,
    deadLetters,
    clock,
    trail,
    advance,
    async send(messages, sendOptions = {}) {
      const ids = await submit(toMessages(messages, sendOptions), { idPrefix: 'harness' });
      await queue.runDue(attempt);
      return ids;
    },
    async settle() {
      const startMs = clock.now();
      for (let next = queue.nextDueMs(); next !== undefined; next = queue.nextDueMs()) {
        await advance(Math.max(0, next - clock.now()));
      }
      return clock.now() - startMs;
    },
    async states(message) {
      const records = await trail(message);
      return [chart.initial, ...records.flatMap(({ steps }) => steps.map(({ to }) => to))];
    },
    async get(service, id) {
      const known = services.get(service);
      if (known === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
      const found = await reader.get(known, String(id));
      return found === undefined ? undefined : cachedRecordOf(found);
    },
    redis: { get: async (key) => (await redisTier.read([key]))[0]?.text ?? null },
    local: { get: async (key) => (await localTier.get(key))?.text ?? null },
    async close() {
      reader.close();
      await Promise.all([...services.values()].map(({ source }) => source.close()));
      await queue.close();
      await localTier.close();
    },
  };
}

/** The services as the pipeline sees them; the recorded ones read what was recorded. */
function withRecords(
  { services: given, records = {} }: HarnessOptions,
  compiled: ReadonlyMap<string, Service>,
  sourceOf: (service: string) => Service['source'],
): ReadonlyMap<string, Service> {
  for (const id of Object.keys(records)) {
    if (!compiled.has(id)) throw fail('E_NOT_FOUND', { what: `service ${id}, which has records,` });
  }
  return new Map(
    [...compiled].map(([id, service]) => {
      const isOwn = given[id]?.source.type === 'function' && records[id] === undefined;
      return [id, isOwn || service.inline ? service : { ...service, source: sourceOf(id) }];
    }),
  );
}

/** Checks services and topics by the rules of the configuration. Sources that are not asked need no addresses or secrets. */
function resolveHarness({ services, topics }: HarnessOptions): Config {
  const input: ConfigInput = {
    services: Object.fromEntries(
      Object.entries(services).map(([id, service]) => {
        const { type } = service.source;
        const source = type === 'inline' || type === 'function' ? service.source : NOT_ASKED;
        return [id, { ...service, source }];
      }),
    ),
    ...(topics !== undefined && { kafka: { brokers: ['127.0.0.1:9092'], topics } }),
  };
  return resolveConfig({ input, env: {} }).config;
}

const NOT_ASKED = { type: 'function', fetchMany: async () => new Map<string, unknown>() } as const;

/** Makes messages of what is sent: offsets count up in partition 0 of their topic. */
function createStamp(
  config: Config,
  clock: VirtualClock,
): (messages: HarnessMessage | readonly HarnessMessage[], options: SendOptions) => Message[] {
  const offsets = new Map<string, number>();
  return (messages, { topic, key, headers = {}, timestampMs = Math.floor(clock.now()) }) => {
    const stream = `${topic ?? config.kafka?.topics[0]?.name ?? DEFAULT_TOPIC}-0`;
    const list = isList(messages) ? messages : [messages];
    return list.map((message): Message => {
      const offset = offsets.get(stream) ?? 0;
      offsets.set(stream, offset + 1);
      return {
        origin: { stream, epoch: 0, position: String(offset) },
        timestampMs,
        key: key ?? null,
        value: bytesOf(message),
        headers: Object.entries(headers),
      };
    });
  };
}

function bytesOf(message: HarnessMessage): Bytes | null {
  if (message === null || typeof message === 'string') return message;
  if (message instanceof Uint8Array) return toBytes(Buffer.from(message), isUtf8);
  return JSON.stringify(message);
}

function isList(messages: HarnessMessage | readonly HarnessMessage[]): messages is readonly HarnessMessage[] {
  return Array.isArray(messages);
}
