/** One part of a batch into the queue, with the mark behind it. */
import type { ChangeSource, ChunkQueue, QueuedChunk, SourceBatch, SourceRecord } from '../core/ports.ts';
import { untilDone, type WaitOptions } from './keep-alive.ts';
import type { TakenPartition } from './taken-partition.ts';
import { toChunk } from './to-chunk.ts';

export interface EnqueueContext {
  readonly source: Pick<ChangeSource, 'groupId'>;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  /** Machine id and version, kept in every chunk. */
  readonly machine: string;
  /** How often the marks' Redis, which is the queue's, was away. */
  readonly returns: () => number;
}

/** Chunks into the queue, then the mark behind them. False when another consumer moved the mark. */
export async function enqueue(
  context: EnqueueContext,
  batch: SourceBatch,
  state: TakenPartition,
  part: readonly (readonly SourceRecord[])[],
  waits: WaitOptions,
): Promise<boolean> {
  const { returns } = context;
  const { topic, partition } = batch;
  const at = { group: context.source.groupId, topic, partition, epoch: state.epoch };
  const chunks = part.map((records) => toChunk(records, at, context.machine));
  const last = part.at(-1)?.at(-1)?.offset ?? '';
  for (let before = -1; before !== returns(); ) {
    // A Redis that was away between the two may have lost the chunks and kept the mark: both once more.
    before = returns();
    const moved = await untilDone(
      batch,
      'enqueueing',
      () => enqueueAndMark(context, state, chunks, last),
      waits,
    );
    if (moved === 'elsewhere') return false;
    if (moved === 'moved') continue;
    if (!(await untilDone(batch, 'moving the mark', () => state.moveTo(last), waits))) return false;
  }
  return true;
}

/**
 * Sends the mark right behind the chunks, in one round trip: it moves only over jobs that the store sees in the queue, so
 * what became of the enqueue need not be known first. Where it was early, the caller moves it after the enqueue.
 */
async function enqueueAndMark(
  { queue }: Pick<EnqueueContext, 'queue'>,
  state: TakenPartition,
  chunks: readonly QueuedChunk[],
  last: string,
): Promise<'moved' | 'elsewhere' | 'early'> {
  const jobs = chunks.map(({ id }) => id);
  const sent = Promise.withResolvers<void>();
  const enqueuing = queue.enqueue(chunks, sent.resolve).finally(sent.resolve);
  const marking = sent.promise.then(() => state.moveBehind(last, jobs));
  const [enqueued, marked] = await Promise.allSettled([enqueuing, marking]);
  if (enqueued.status === 'rejected') throw enqueued.reason;
  return marked.status === 'fulfilled' ? marked.value : 'early';
}
