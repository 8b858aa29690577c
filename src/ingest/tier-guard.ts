/**
 * Sees when a cache's Redis of its own has fallen behind the queue's: restored from a backup, failed over, emptied, or
 * started anew without its last second. Jobs that are done are gone from the queue, so nothing else would ever write again
 * what it lost. A beat goes to both every few seconds; each names the offsets below which everything was done and so in the
 * cache. Where the two differ, or the cache's server is another, the cache's own beat says from where on to replay.
 */
import type { Mark, MarkName, MarkStore, TierBeat, TierMarks, TierRepair } from '../core/ports.ts';
import { partitionPart } from './chunk-id.ts';

/** A partition that ingest takes in. */
export type GuardedPartition = Pick<MarkName, 'clusterId' | 'topic' | 'partition'>;

/** - `behind`: it lost beats. · `restarted`: it has the last beat, and may have lost what came after. · `empty`: it has none. */
export type FallKind = 'behind' | 'restarted' | 'empty';

export interface TierFall {
  readonly kind: FallKind;
  /** Beats lost; 0 when it was restarted. */
  readonly beats: number;
  /** By `topic/partition`. */
  readonly from: TierRepair;
}

export interface TierGuardOptions {
  readonly marks: Pick<MarkStore, 'read'>;
  readonly tierMarks: TierMarks;
  readonly groupId: string;
  /** Names this instance. */
  readonly name: string;
  /** Every partition of every topic, whoever has it. */
  readonly partitions: () => Promise<readonly GuardedPartition[]>;
  /** `warn`: it is told and counted, and the cache stays as it is. */
  readonly onBehind: 'replay' | 'warn';
  /** Told once per fall, by the instance that found it. */
  readonly onFall: (fall: TierFall) => void;
}

export interface TierGuard {
  /** One look, and the next beat. */
  look(): Promise<void>;
}

export function createTierGuard(options: TierGuardOptions): TierGuard {
  const { tierMarks, onBehind, onFall } = options;

  return {
    async look() {
      // The server first: a beat is refused if it is another by then, so what was done by now is really in this one.
      const server = await tierMarks.server();
      const done = await doneOffsets(options);
      // The queue's first: the cache's is written before it, so a healthy cache's can only be newer.
      const queue = await tierMarks.queueBeat();
      const cache = await tierMarks.cacheBeat();
      const kind = fallOf(queue, cache, server);
      if (kind === undefined) {
        await beat(queue, cache, { done, server, falls: Math.max(queue?.falls ?? 0, cache?.falls ?? 0) });
        return;
      }
      const from = Object.fromEntries(Object.keys(done).map((place) => [place, cache?.done[place] ?? '0']));
      // Kept before the beats are level again: a crash in between finds the same once more.
      const before = await tierMarks.repair();
      const repair = onBehind === 'replay' ? lower(before, from) : before;
      if (repair !== before && !(await tierMarks.moveRepair(before, repair))) return;
      const falls = Math.max(queue?.falls ?? 0, cache?.falls ?? 0) + 1;
      if (!(await beat(queue, cache, { done: lower(done, repair ?? {}), server, falls }))) return;
      onFall({ kind, beats: (queue?.sequence ?? 0) - (cache?.sequence ?? 0), from });
    },
  };

  /** The next beat to both; false when another instance was faster, or the cache's server is another again. */
  async function beat(
    queue: TierBeat | null,
    cache: TierBeat | null,
    more: Omit<TierBeat, 'sequence' | 'by'>,
  ): Promise<boolean> {
    const next = {
      sequence: Math.max(queue?.sequence ?? 0, cache?.sequence ?? 0) + 1,
      by: options.name,
      ...more,
    };
    if (!(await tierMarks.beatCache(cache, next))) return false;
    await tierMarks.beatQueue(queue, next);
    return true;
  }
}

function fallOf(queue: TierBeat | null, cache: TierBeat | null, server: string): FallKind | undefined {
  if (cache === null) return queue === null ? undefined : 'empty';
  if (queue !== null && cache.sequence < queue.sequence) return 'behind';
  return cache.server === server ? undefined : 'restarted';
}

/** By `topic/partition`: the offset below which nothing is in the queue, on its way there, or still to be replayed. */
async function doneOffsets({
  marks,
  tierMarks,
  groupId,
  partitions,
}: TierGuardOptions): Promise<Record<string, string>> {
  const all = await partitions();
  // In this order: a job is in the queue before the mark moves over it. The other way round one could be overlooked.
  const read = await Promise.all(all.map((partition) => marks.read({ ...partition, groupId })));
  const repair = await tierMarks.repair();
  const unfinished = await tierMarks.unfinished();
  const done: Record<string, string> = {};
  all.forEach(({ topic, partition }, index) => {
    const place = `${topic}/${partition}`;
    const open = unfinished.get(partitionPart({ group: groupId, topic, partition }));
    const bounds = [nextOf(read[index] ?? null), open, repair?.[place]];
    done[place] = bounds.reduce<string>(
      (low, each) => (each === undefined ? low : lowest(low, each)),
      bounds[0] ?? '0',
    );
  });
  return done;
}

function nextOf(mark: Mark | null): string {
  if (mark === null) return '0';
  if (mark.enqueued !== '') return String(BigInt(mark.enqueued) + 1n);
  return mark.committed === '' ? '0' : mark.committed;
}

/** Both, at each place the lower one. The first itself when the second adds nothing. */
function lower<Offsets extends TierRepair | null>(a: Offsets, b: TierRepair): Offsets | TierRepair {
  const merged: Record<string, string> = { ...a };
  let isSame = a !== null;
  for (const [place, offset] of Object.entries(b)) {
    const known = merged[place];
    const low = known === undefined ? offset : lowest(known, offset);
    if (low === known) continue;
    merged[place] = low;
    isSame = false;
  }
  return isSame ? a : merged;
}

function lowest(a: string, b: string): string {
  return BigInt(a) < BigInt(b) ? a : b;
}
