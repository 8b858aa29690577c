/**
 * The hand-off that loses nothing: cut a batch into chunks, enqueue them, move the mark, commit. In this order, so that
 * a crash anywhere only repeats what the fence answers with `same`.
 */
import { CachewrightError, fail } from '../core/errors.ts';
import type {
  BatchHandler,
  ChangeSource,
  ChunkQueue,
  Clock,
  Log,
  MarkStore,
  SourceBatch,
} from '../core/ports.ts';
import type { BackPressure } from './back-pressure.ts';
import { type CommitBehind, createCommitBehind } from './commit-behind.ts';
import { type ChunkLimits, cut } from './cut.ts';
import { enqueue } from './enqueue.ts';
import { paused, rest, untilDone, type WaitOptions, whileBeating } from './keep-alive.ts';
import type { Decision, DecisionKind } from './mark.ts';
import { createRecheck } from './recheck.ts';
import { standAside } from './stand-aside.ts';
import { TakenPartition } from './taken-partition.ts';
import { sizeOfRecord } from './to-chunk.ts';

/** Past facts, for counters. */
export type IngestEvent = { readonly topic: string; readonly partition: number } & (
  | { readonly kind: 'enqueued'; readonly messages: number; readonly chunks: number }
  | {
      readonly kind: 'taken';
      readonly decision: DecisionKind;
      readonly from: string;
      readonly epoch: number;
      readonly lost: number;
    }
  | { readonly kind: 'markMoved' }
  | { readonly kind: 'waiting'; readonly reason: string }
  | { readonly kind: 'resumed'; readonly waitedMs: number }
);

export interface HandOffOptions {
  readonly source: Pick<ChangeSource, 'clusterId' | 'groupId' | 'assignments' | 'partition' | 'onAssigned'>;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  readonly marks: MarkStore;
  /** Machine id and version, kept in every chunk. */
  readonly machine: string;
  readonly limits: ChunkLimits;
  readonly backPressure: BackPressure;
  /** Where to begin when the group has commits but Redis knows no mark. */
  readonly onMissingMark: 'earliest' | 'committed';
  readonly clock: Clock;
  readonly log: Log;
  readonly events: (event: IngestEvent) => void;
}

export interface HandOff {
  readonly handle: BatchHandler;
  /** Compares mark and commit of every assigned partition, idle ones too. Done by itself after a join and when the marks' store was away. */
  recheck(reason: string): Promise<void>;
  /** Sends commits that are still pending; to be called before the source leaves its group. */
  flush(): Promise<void>;
  /** After the source is closed: notes what was committed last. */
  close(): Promise<void>;
}

/** One `addBulk` carries at most this many chunks, so that the mark moves and heartbeats go out in between. */
const CHUNKS_PER_ENQUEUE = 8;
const PRESSURE_LOOK_MS = 250;
/** After a pause this long the log may be another one: compare again. Milliseconds. */
const LONG_PAUSE_MS = 5_000;
/** What a batch is handed over with. */
interface Context extends HandOffOptions {
  readonly commits: CommitBehind;
  /** How often the marks' Redis, which is the queue's, was away. */
  readonly returns: () => number;
}

export function createHandOff(options: HandOffOptions): HandOff {
  const { source, clock, log, marks } = options;
  const closed = new AbortController();
  let returns = 0;
  const commits = createCommitBehind(options);
  const context: Context = { ...options, commits, returns: () => returns };
  const partitions = new Map<string, TakenPartition>();
  const taken = (topic: string, partition: number): TakenPartition => {
    const name = `${topic}/${partition}`;
    const found = partitions.get(name) ?? new TakenPartition(topic, partition, options);
    partitions.set(name, found);
    return found;
  };
  const onTaken = (state: TakenPartition, decision: Decision): void => tellTaken(options, state, decision);
  const recheck = createRecheck({ source, taken, onTaken, clock, log, signal: closed.signal });
  const stopListening = [
    marks.onReturn((reason) => {
      returns += 1;
      void recheck(reason, true);
    }),
    source.onAssigned(() => void recheck('joined', false)),
  ];

  return {
    handle: (batch) => handleBatch(context, batch, taken(batch.topic, batch.partition)),
    recheck: (reason) => recheck(reason, true),
    flush: () => commits.flush(),
    async close() {
      for (const stop of stopListening) stop();
      closed.abort(fail('E_ABORTED', { reason: 'the source is closed' }));
      await Promise.all([...partitions.values()].map((state) => state.note()));
    },
  };
}

async function handleBatch(context: Context, batch: SourceBatch, state: TakenPartition): Promise<void> {
  const entering = state.enter();
  const entered = await whileBeating(batch, context.clock, entering).catch((lost: unknown) => {
    // The partition went while the batch waited for its turn: whoever comes next must not wait for ever.
    void entering.then((leave) => leave());
    throw lost;
  });
  if (!entered.ok) throw entered.error;
  try {
    await handOver(context, batch, state);
  } finally {
    entered.value();
  }
}

async function handOver(context: Context, batch: SourceBatch, state: TakenPartition): Promise<void> {
  const waits = waitOptions(context, batch, state);
  const first = batch.records[0];
  if (first === undefined) return;
  // Going backwards within a generation: the source lost its place, or offers again what failed.
  if (!state.isTaken(batch.generation) || BigInt(first.offset) < state.next)
    if (!(await take(context, batch, state, waits))) return;
  if (BigInt(first.offset) > state.next && !state.isPlaced) {
    // Or a gap that compaction left; then the same batch comes once more.
    state.isPlaced = true;
    return batch.seek(String(state.next));
  }
  state.isPlaced = true;
  const records =
    BigInt(first.offset) < state.next
      ? batch.records.filter(({ offset }) => BigInt(offset) >= state.next)
      : batch.records;
  for (const part of inParts(cut(records, sizeOfRecord, context.limits))) {
    await underPressure(context, batch, waits);
    if (!(await enqueue(context, batch, state, part, waits))) return yieldMark(context, batch, state, waits);
    const messages = part.reduce((sum, { length }) => sum + length, 0);
    const { topic, partition } = batch;
    context.events({ kind: 'enqueued', topic, partition, messages, chunks: part.length });
    await batch.heartbeat();
  }
  batch.resolve(String(state.next - 1n));
  const { epoch } = state;
  context.commits.later(batch, String(state.next - 1n), (next) => {
    // A late answer may come when the partition is another log already.
    if (state.epoch === epoch) state.acknowledge(next);
  });
}

/** Another consumer moved the mark: nothing of this batch is committed; go on where the mark stands now. */
async function yieldMark(
  options: HandOffOptions,
  batch: SourceBatch,
  state: TakenPartition,
  waits: WaitOptions,
): Promise<void> {
  const { topic, partition } = batch;
  const error = fail('E_MARK_MOVED', { stream: `${topic}-${partition}` });
  options.log.warn({ topic, partition, code: error.code }, error.message);
  options.events({ kind: 'markMoved', topic, partition });
  if (await take(options, batch, state, waits)) batch.seek(String(state.next));
}

/** False: jobs of the partition have to be done in another shard first; the batch comes again when they are. */
async function take(
  options: HandOffOptions,
  batch: SourceBatch,
  state: TakenPartition,
  waits: WaitOptions,
): Promise<boolean> {
  const wait = (ms: number): Promise<void> => rest(batch, options.clock, ms);
  const orDraining = (error: unknown): CachewrightError => {
    if (isDraining(error)) return error;
    throw error;
  };
  const taken = await untilDone(
    batch,
    'comparing mark and commit',
    () => state.take(batch, wait).catch(orDraining),
    waits,
  );
  if (!(taken instanceof CachewrightError)) {
    tellTaken(options, state, taken);
    return true;
  }
  standAside(batch, taken.message, () => state.isSettled(), waits);
  return false;
}

function isDraining(error: unknown): error is CachewrightError {
  return error instanceof CachewrightError && error.code === 'E_SHARD_DRAINING';
}

function tellTaken(
  { events }: HandOffOptions,
  { topic, partition, epoch }: TakenPartition,
  { kind, from, lost }: Decision,
): void {
  events({ kind: 'taken', topic, partition, decision: kind, from, epoch, lost });
}

async function underPressure(options: HandOffOptions, batch: SourceBatch, waits: WaitOptions): Promise<void> {
  const { backPressure, clock } = options;
  const reason = await backPressure.reason();
  if (reason === '') return;
  await paused(batch, reason, waits, async () => {
    do await rest(batch, clock, PRESSURE_LOOK_MS);
    while ((await backPressure.reason()) !== '');
  });
}

function waitOptions(
  { clock, log, events }: HandOffOptions,
  batch: SourceBatch,
  state: TakenPartition,
): WaitOptions {
  const { topic, partition } = batch;
  return {
    clock,
    log,
    onWaiting(reason) {
      log.info({ topic, partition, reason }, 'partition paused');
      events({ kind: 'waiting', topic, partition, reason });
    },
    onResumed(waitedMs) {
      if (waitedMs >= LONG_PAUSE_MS) state.release();
      log.info({ topic, partition, waitedMs: Math.round(waitedMs) }, 'partition resumed');
      events({ kind: 'resumed', topic, partition, waitedMs });
    },
  };
}

function* inParts<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += CHUNKS_PER_ENQUEUE)
    yield items.slice(at, at + CHUNKS_PER_ENQUEUE);
}
