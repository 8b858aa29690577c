/** Readers that poll all through, and everything else a history holds that is seen from outside. */
import { decodeFence } from '../../../src/core/fence.ts';
import type { Mark, RedisTier, TierWrite } from '../../../src/core/ports.ts';
import { formatVersion } from '../../../src/core/version.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { fenceKeyOf } from '../../../src/core/fence.ts';
import { messageId } from '../../../src/core/change.ts';
import type {
  AcceptedWrite,
  FinalCell,
  FinalLocal,
  LevelSample,
  OffsetSample,
  ReaderSample,
} from '../history.ts';
import type { Fleet } from './fleet.ts';
import { type Instance, MOST_JOBS } from './instance.ts';
import { GROUP, type Servers, streams } from './servers.ts';

const LOOK_MS = 200;

export class Watch {
  readonly samples: ReaderSample[] = [];
  readonly accepted: AcceptedWrite[] = [];
  readonly offsets: OffsetSample[] = [];
  readonly levels: LevelSample[] = [];
  readonly #clock: VirtualClock;
  readonly #servers: Servers;
  readonly #fleet: () => Fleet;
  readonly #keys: readonly (readonly [service: string, id: string, key: string])[];
  /** Instances that a reader is asking just now. */
  readonly #asking = new Set<Instance>();

  constructor(options: {
    readonly clock: VirtualClock;
    readonly servers: Servers;
    readonly fleet: () => Fleet;
    readonly ids: readonly string[];
  }) {
    this.#clock = options.clock;
    this.#servers = options.servers;
    this.#fleet = options.fleet;
    this.#keys = options.ids.flatMap((id) => [
      ['inline', id, `inline_${id}`],
      ['fetched', id, `fetched_${id}`],
    ]);
  }

  /** Notes what the fence lets through, where it lets it through. */
  over(tier: RedisTier): RedisTier {
    return {
      ...tier,
      write: async (writes) => {
        const results = await tier.write(writes);
        writes.forEach((write, index) => {
          const kind = results[index]?.kind;
          if (kind === 'set' || kind === 'evicted') this.#accept(write);
        });
        return results;
      },
    };
  }

  #accept({ key, op, version, origin }: TierWrite): void {
    const told = version === null ? '' : formatVersion(version);
    const atMs = this.#clock.now();
    this.accepted.push({ key, version: told, op, message: messageId(origin), epoch: origin.epoch, atMs });
  }

  /** Looks at everything again and again. */
  async run(): Promise<void> {
    for (let turn = 0; ; turn += 1) {
      await this.#clock.sleep(LOOK_MS);
      const atMs = this.#clock.now();
      this.#lookAtRedis(atMs);
      await this.#lookAtMarks(atMs);
      const bound = MOST_JOBS;
      this.levels.push({ what: 'jobs in the queue', value: this.#servers.jobs.size, bound, atMs });
      for (const instance of this.#fleet().instances) {
        const bytes = instance.localTier.size().bytes;
        this.levels.push({ what: 'bytes of a local tier', value: bytes, bound: 1 << 20, atMs });
        if (!this.#asking.has(instance)) void this.#ask(instance, turn);
      }
    }
  }

  finalCells(): FinalCell[] {
    const { cells } = this.#servers.tier;
    return this.#keys.map(([, , key]) => ({
      key,
      text: cells.get(key)?.text ?? null,
      fence: cells.get(fenceKeyOf(key))?.text ?? null,
    }));
  }

  async finalLocals(): Promise<FinalLocal[]> {
    const found: FinalLocal[] = [];
    for (const { process, localTier } of this.#fleet().instances) {
      for (const [, , key] of this.#keys) {
        const entry = await localTier.get(key);
        if (entry === undefined) continue;
        found.push({ instance: process.name, key, version: formatVersion(entry.version), text: entry.text });
      }
    }
    return found;
  }

  #lookAtRedis(atMs: number): void {
    for (const { key, text, fence } of this.finalCells()) {
      const version = fence === null ? null : (decodeFence(fence)?.version ?? null);
      if (version === null) continue;
      const told = formatVersion(version);
      this.samples.push({
        reader: 'redis',
        tier: 'redis',
        key,
        version: told,
        isPresent: text !== null,
        atMs,
      });
    }
  }

  async #lookAtMarks(atMs: number): Promise<void> {
    const { kafka, marks } = this.#servers;
    for (const stream of streams) {
      const { topic, partition } = stream;
      const mark = await marks.read(stream);
      const committed = kafka.commits.get(`${GROUP} ${topic}/${partition}`) ?? null;
      this.offsets.push({
        group: GROUP,
        topic,
        partition,
        committed,
        enqueued: enqueuedOf(mark),
        atMs,
      });
    }
  }

  /** One reader per instance, one key at a time. */
  async #ask(instance: Instance, turn: number): Promise<void> {
    const [service = '', id = '', key = ''] = this.#keys[turn % this.#keys.length] ?? [];
    const asked = instance.services.get(service);
    if (asked === undefined) return;
    this.#asking.add(instance);
    try {
      // What the tiers say is looked at here: a reader that fills them would hide what they lack.
      const ofTiers = { ...asked, read: { ...asked.read, fromSource: false } };
      const found = await instance.reader.get(ofTiers, id);
      const version = found?.version === undefined ? '' : formatVersion(found.version);
      // An answer that says it is stale promises nothing.
      if (version === '' || found === undefined || found.tier === 'stale') return;
      const reader = instance.process.name;
      const tier = found.tier === 'redis' ? 'redis' : 'local';
      this.samples.push({ reader, tier, key, version, isPresent: true, atMs: this.#clock.now() });
    } catch {
      // Redis is away: a reader is told so and asks again.
    } finally {
      this.#asking.delete(instance);
    }
  }
}

/** An epoch that has not enqueued anything yet begins at a commit: everything before that counts as enqueued. */
function enqueuedOf(mark: Mark | null): string | null {
  if (mark === null || mark.enqueued !== '' || mark.committed === '') return mark?.enqueued ?? null;
  return String(BigInt(mark.committed) - 1n);
}
