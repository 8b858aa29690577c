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
import { MOST_JOBS } from './instance.ts';
import { Readers, type ReadersOptions } from './readers.ts';
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
  readonly #keys: readonly string[];
  readonly readers: Readers;

  constructor(options: {
    readonly clock: VirtualClock;
    readonly servers: Servers;
    readonly fleet: () => Fleet;
    readonly services: readonly string[];
    readonly ids: readonly string[];
    readonly reading: Pick<ReadersOptions, 'random' | 'pauseMs' | 'throughToSource' | 'isCalm'>;
  }) {
    this.#clock = options.clock;
    this.#servers = options.servers;
    this.#fleet = options.fleet;
    this.#keys = options.ids.flatMap((id) => options.services.map((service) => `${service}_${id}`));
    const { samples, levels } = this;
    this.readers = new Readers({ ...options, ...options.reading, samples, levels });
  }

  /** Notes what the fence lets through, where it lets it through. */
  over(tier: RedisTier): RedisTier {
    return {
      ...tier,
      write: async (writes, as) => {
        const results = await tier.write(writes, as);
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
    for (;;) {
      await this.#clock.sleep(LOOK_MS);
      const atMs = this.#clock.now();
      this.#lookAtRedis(atMs);
      await this.#lookAtMarks(atMs);
      const bound = MOST_JOBS;
      this.levels.push({ what: 'jobs in the queue', value: this.#servers.jobs.size, bound, atMs });
      for (const instance of this.#fleet().instances) {
        const bytes = instance.localTier.size().bytes;
        this.levels.push({ what: 'bytes of a local tier', value: bytes, bound: 1 << 20, atMs });
      }
      this.readers.readFrom(this.#fleet().instances);
    }
  }

  finalCells(): FinalCell[] {
    const { cells } = this.#servers.tier;
    return this.#keys.map((key) => ({
      key,
      text: cells.get(key)?.text ?? null,
      fence: cells.get(fenceKeyOf(key))?.text ?? null,
    }));
  }

  async finalLocals(): Promise<FinalLocal[]> {
    const found: FinalLocal[] = [];
    const nowMs = this.#clock.now();
    for (const { process, localTier, follower } of this.#fleet().instances) {
      if (follower.state() === 'blind') continue;
      for (const key of this.#keys) {
        const entry = await localTier.get(key);
        if (entry === undefined || entry.storedMs + entry.ttlMs <= nowMs) continue;
        found.push({ instance: process.name, key, version: formatVersion(entry.version), text: entry.text });
      }
    }
    return found;
  }

  #lookAtRedis(atMs: number): void {
    for (const { key, text, fence } of this.finalCells()) {
      const { version, kind } = (fence === null ? undefined : decodeFence(fence)) ?? {};
      if (version == null) continue;
      // A live fence without its value: the value was evicted, the record is not gone.
      const isPresent = text !== null || kind === 'live';
      this.samples.push({
        reader: 'redis',
        tier: 'redis',
        key,
        version: formatVersion(version),
        isPresent,
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
}

/** An epoch that has not enqueued anything yet begins at a commit: everything before that counts as enqueued. */
function enqueuedOf(mark: Mark | null): string | null {
  if (mark === null || mark.enqueued !== '' || mark.committed === '') return mark?.enqueued ?? null;
  return String(BigInt(mark.committed) - 1n);
}
