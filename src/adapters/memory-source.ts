/**
 * A change source in this process: logs that a test fills, truncates and makes anew, and a group with one member. It
 * passes the suite of Kafka's adapter, so what runs over it runs over Kafka.
 */
import { backoffMs } from '../core/backoff.ts';
import { fail } from '../core/errors.ts';
import type {
  BatchHandler,
  ChangeSource,
  Clock,
  LogBounds,
  SourceBatch,
  SourcePartition,
  SourcePosition,
  SourceRecord,
} from '../core/ports.ts';

/** One partition's log; outlives the sources that read it, as a broker would. */
export interface MemoryLog {
  readonly logId: string;
  /** Offset of the first record. */
  readonly low: number;
  readonly records: readonly SourceRecord[];
}

/** The cluster's side: logs and commits, shared by sources. */
export class MemoryCluster {
  readonly clusterId: string;
  /** By `topic/partition`. */
  readonly logs = new Map<string, MemoryLog>();
  /** By `group topic/partition`. */
  readonly commits = new Map<string, string>();
  #made = 0;

  constructor(clusterId: string) {
    this.clusterId = clusterId;
  }

  /** Makes the log of a partition, anew if it is there: another log id, and no commits. */
  create(topic: string, partition: number): void {
    const place = placeOf(topic, partition);
    this.#made += 1;
    this.logs.set(place, { logId: `log-${this.#made}`, low: 0, records: [] });
    for (const key of this.commits.keys()) if (key.endsWith(` ${place}`)) this.commits.delete(key);
  }

  /** Adds records at the end. */
  append(topic: string, partition: number, records: readonly Omit<SourceRecord, 'offset'>[]): void {
    const log = this.log(topic, partition);
    const next = log.low + log.records.length;
    const added = records.map((record, index) => ({ ...record, offset: String(next + index) }));
    this.logs.set(placeOf(topic, partition), { ...log, records: [...log.records, ...added] });
  }

  /** Drops the records before an offset, as retention does. */
  dropBefore(topic: string, partition: number, offset: number): void {
    const log = this.log(topic, partition);
    const records = log.records.slice(Math.max(0, offset - log.low));
    this.logs.set(placeOf(topic, partition), { ...log, low: offset, records });
  }

  log(topic: string, partition: number): MemoryLog {
    const log = this.logs.get(placeOf(topic, partition));
    if (log === undefined) throw fail('E_TOPIC_MISSING', { topic });
    return log;
  }
}

export interface MemorySourceOptions {
  readonly cluster: MemoryCluster;
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Most records of a batch. @defaultValue 500 */
  readonly maxBatch?: number;
  readonly clock: Clock;
}

/** How often an idle partition is looked at, milliseconds. */
const IDLE_MS = 5;
const OFFER_AGAIN = { initialMs: 20, factor: 2, maxMs: 1_000, jitter: 0 } as const;

export function createMemorySource(options: MemorySourceOptions): ChangeSource {
  return new MemorySource(options);
}

class MemorySource implements ChangeSource {
  readonly groupId: string;
  readonly #options: MemorySourceOptions;
  readonly #listeners = new Set<() => void>();
  readonly #positions = new Map<string, number>();
  readonly #resolved = new Map<string, string>();
  readonly #pauses = new Map<string, number>();
  #generation = 0;
  #tenure = new AbortController();
  #handler: BatchHandler = () => Promise.resolve();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: MemorySourceOptions) {
    this.#options = options;
    this.groupId = options.groupId;
    this.#tenure.abort();
  }

  get clusterId(): string {
    return this.#options.cluster.clusterId;
  }

  start(handler: BatchHandler): Promise<void> {
    const { cluster, topics } = this.#options;
    const places = [...cluster.logs.keys()];
    const missing = topics.find((topic) => !places.some((place) => place.startsWith(`${topic}/`)));
    if (missing !== undefined) return Promise.reject(fail('E_TOPIC_MISSING', { topic: missing }));
    this.#handler = handler;
    this.#join();
    return Promise.resolve();
  }

  assignments() {
    if (this.#tenure.signal.aborted) return [];
    const { cluster, topics } = this.#options;
    return topics.map((topic) => ({
      topic,
      partitions: [...cluster.logs.keys()]
        .filter((place) => place.startsWith(`${topic}/`))
        .map((place) => Number(place.slice(topic.length + 1))),
    }));
  }

  onAssigned(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  positions(): SourcePosition[] {
    return this.assignments().flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({
        topic,
        partition,
        resolved: this.#resolved.get(placeOf(topic, partition)) ?? '',
        isPaused: this.#isPaused(placeOf(topic, partition)),
      })),
    );
  }

  partition(topic: string, partition: number): SourcePartition {
    const { cluster, groupId } = this.#options;
    const place = placeOf(topic, partition);
    const generation = this.#generation;
    return {
      generation,
      committed: () => Promise.resolve(cluster.commits.get(`${groupId} ${place}`) ?? null),
      bounds: () => Promise.resolve(boundsOf(cluster.log(topic, partition))),
      seek: (offset) => {
        if (generation !== this.#generation) return;
        this.#positions.set(place, Number(offset));
        this.#resolved.set(place, offset);
      },
      pause: () => this.#pause(place),
    };
  }

  async restart(reason: string): Promise<void> {
    await this.#leave(reason);
    this.#join();
  }

  isHealthy() {
    return this.#tenure.signal.aborted
      ? { healthy: false, reason: 'not started' }
      : { healthy: true, reason: '' };
  }

  close(): Promise<void> {
    return this.#leave('the source is closed');
  }

  #join(): void {
    this.#generation += 1;
    this.#tenure = new AbortController();
    this.#positions.clear();
    this.#resolved.clear();
    this.#pauses.clear();
    const { signal } = this.#tenure;
    const all = this.assignments().flatMap(({ topic, partitions }) =>
      partitions.map((partition) => this.#read(topic, partition, signal)),
    );
    this.#running = Promise.all(all);
    for (const listener of this.#listeners) listener();
  }

  async #leave(reason: string): Promise<void> {
    this.#tenure.abort(fail('E_ABORTED', { reason }));
    await this.#running;
  }

  /** Offers one partition's batches, one at a time, until the membership ends. */
  async #read(topic: string, partition: number, signal: AbortSignal): Promise<void> {
    const place = placeOf(topic, partition);
    let failures = 0;
    while (!signal.aborted) {
      const batch = this.#isPaused(place) ? undefined : this.#nextBatch(topic, partition, signal);
      let waitMs = IDLE_MS;
      if (batch !== undefined) {
        waitMs = 0;
        try {
          await this.#handler(batch);
          failures = 0;
        } catch {
          failures += 1;
          waitMs = backoffMs(OFFER_AGAIN, failures, 0.5);
        }
      }
      await this.#options.clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  #nextBatch(topic: string, partition: number, signal: AbortSignal): SourceBatch | undefined {
    const { cluster, groupId, maxBatch = 500 } = this.#options;
    const place = placeOf(topic, partition);
    const log = cluster.log(topic, partition);
    const high = log.low + log.records.length;
    let position =
      this.#positions.get(place) ?? Number(cluster.commits.get(`${groupId} ${place}`) ?? log.low);
    if (position < log.low || position > high) {
      // The log is not what it was: as Kafka's `auto.offset.reset: earliest`.
      position = log.low;
      this.#generation += 1;
    }
    this.#positions.set(place, position);
    const records = log.records.slice(position - log.low, position - log.low + maxBatch);
    if (records.length === 0) return undefined;
    const look = this.partition(topic, partition);
    return {
      ...look,
      topic,
      partition,
      records,
      highWatermark: String(high),
      signal,
      heartbeat: () =>
        signal.aborted ? Promise.reject(fail('E_ABORTED', { reason: 'not a member' })) : Promise.resolve(),
      commit: (offset) => {
        const next = Number(offset) + 1;
        cluster.commits.set(`${groupId} ${place}`, String(next));
        this.#positions.set(place, next);
        this.#resolved.set(place, String(next));
        return Promise.resolve();
      },
    };
  }

  #isPaused(place: string): boolean {
    return (this.#pauses.get(place) ?? 0) > 0;
  }

  #pause(place: string): () => void {
    this.#pauses.set(place, (this.#pauses.get(place) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (isHeld) this.#pauses.set(place, (this.#pauses.get(place) ?? 1) - 1);
      isHeld = false;
    };
  }
}

function boundsOf({ logId, low, records }: MemoryLog): LogBounds {
  return { low: String(low), high: String(low + records.length), logId };
}

function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
