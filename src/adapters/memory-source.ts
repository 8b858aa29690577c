/**
 * A change source in this process: a member of a group that reads its share of the logs of a {@link MemoryCluster}. It
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
} from '../core/ports.ts';
import { type MemoryCluster, type MemoryLog, placeOf } from './memory-cluster.ts';
import { type GroupMember, MemoryGroup } from './memory-group.ts';

export interface MemorySourceOptions {
  readonly cluster: MemoryCluster;
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Most records of a batch. @defaultValue 500 */
  readonly maxBatch?: number;
  /** How often an idle partition is looked at, milliseconds. @defaultValue 5 */
  readonly idleMs?: number;
  /** Its name in the group, by which the cluster can give it up. @defaultValue '' */
  readonly member?: string;
  /** Shares with nobody, as an owner that does not know yet that it was given up. @defaultValue false */
  readonly isAlone?: boolean;
  readonly clock: Clock;
}

const IDLE_MS = 5;
/** A member hears that the group has changed, or went on without it, with its next heartbeat; milliseconds. */
const HEARS_AFTER_MS = 5;
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
  readonly #group: MemoryGroup;
  readonly #member: GroupMember;
  /** Of the source: grows with every membership, and when the log is not what it was. */
  #generation = 0;
  /** Of the group, as this member knows it. */
  #joined = -1;
  #isStarted = false;
  #rejoining: Promise<void> | undefined;
  #tenure = new AbortController();
  #handler: BatchHandler = () => Promise.resolve();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: MemorySourceOptions) {
    this.#options = options;
    this.groupId = options.groupId;
    this.#group = options.isAlone === true ? new MemoryGroup() : options.cluster.group(options.groupId);
    this.#member = { name: options.member ?? '', onRebalance: () => void this.#hear() };
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
    this.#isStarted = true;
    this.#join();
    return Promise.resolve();
  }

  assignments() {
    if (this.#tenure.signal.aborted) return [];
    const { cluster, topics } = this.#options;
    const wanted = [...cluster.logs.keys()].filter((place) =>
      topics.some((topic) => place.startsWith(`${topic}/`)),
    );
    const mine = this.#group.shareOf(this.#member, wanted);
    return topics.map((topic) => ({
      topic,
      partitions: mine
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
    this.#group.leave(this.#member);
    await this.#endTenure(reason);
    if (this.#tenure.signal.aborted) this.#join();
  }

  isHealthy() {
    return this.#tenure.signal.aborted
      ? { healthy: false, reason: 'not started' }
      : { healthy: true, reason: '' };
  }

  async close(): Promise<void> {
    this.#isStarted = false;
    await this.#endTenure('the source is closed');
    this.#group.leave(this.#member);
  }

  /** Becomes a member if it is none any more, and reads what the group gives it. */
  #join(): void {
    if (!this.#group.has(this.#member)) this.#group.join(this.#member);
    this.#joined = this.#group.generation;
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

  async #endTenure(reason: string): Promise<void> {
    this.#tenure.abort(fail('E_ABORTED', { reason }));
    await this.#running;
  }

  async #hear(): Promise<void> {
    await this.#options.clock.sleep(HEARS_AFTER_MS);
    this.#rejoin();
  }

  #isMember(): boolean {
    return this.#joined === this.#group.generation;
  }

  /** Takes part in the group as it is now. Its handlers end first: a member has one tenure at a time. */
  #rejoin(): void {
    if (this.#isMember() || !this.#isStarted) return;
    this.#rejoining ??= this.#endTenure('the group was rebalanced').then(() => {
      this.#rejoining = undefined;
      if (this.#isStarted && this.#tenure.signal.aborted) this.#join();
    });
  }

  /** Offers one partition's batches, one at a time, until the membership ends. */
  async #read(topic: string, partition: number, signal: AbortSignal): Promise<void> {
    const place = placeOf(topic, partition);
    let failures = 0;
    while (!signal.aborted) {
      const batch = this.#isPaused(place) ? undefined : this.#nextBatch(topic, partition, signal);
      let waitMs = this.#options.idleMs ?? IDLE_MS;
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
    let resolved = -1;
    const resolve = (offset: string): void => {
      const next = Number(offset) + 1;
      if (next <= resolved) return;
      resolved = next;
      this.#positions.set(place, next);
      this.#resolved.set(place, String(next));
    };
    return {
      ...look,
      topic,
      partition,
      records,
      highWatermark: String(high),
      signal,
      heartbeat: () =>
        signal.aborted || !this.#isMember()
          ? Promise.reject(fail('E_ABORTED', { reason: 'not a member' }))
          : Promise.resolve(),
      resolve,
      commit: (offset) => {
        if (signal.aborted || !this.#isMember())
          return Promise.reject(fail('E_ABORTED', { reason: 'the membership is over' }));
        resolve(offset);
        cluster.commits.set(`${groupId} ${place}`, String(Number(offset) + 1));
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
