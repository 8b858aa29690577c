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
  const { topic, partition } = batch;
  const at = { group: context.source.groupId, topic, partition, epoch: state.epoch };
  const chunks = part.map((records) => toChunk(records, at, context.machine));
  const last = part.at(-1)?.at(-1)?.offset ?? '';
  for (;;) {
    const moved = await untilDone(
      batch,
      'enqueueing',
      () => enqueueAndMark(context, state, chunks, last),
      waits,
    );
    if (moved !== 'again') return moved === 'moved';
  }
}

/**
 * Sends the mark right behind the chunks, in one round trip: it moves only over jobs that the store sees in the queue, so
 * what became of the enqueue need not be known first. Where it was early it is moved after the enqueue, whose jobs may be done
 * and gone by then. Whatever fails is repeated from the enqueue on: a Redis that was away meanwhile may have lost the chunks, and
 * a mark that is moved over them before they are there again would lose them for good, should the process die in between.
 *
 * @param last offset of the last record in the chunks
 * @returns `again`: Redis was away meanwhile
 */
async function enqueueAndMark(
  { queue, returns }: Pick<EnqueueContext, 'queue' | 'returns'>,
  state: TakenPartition,
  chunks: readonly QueuedChunk[],
  last: string,
): Promise<'moved' | 'elsewhere' | 'again'> {
  const before = returns();
  const { compared } = state;
  const jobs = chunks.map(({ id }) => id);
  const sent = Promise.withResolvers<void>();
  const enqueuing = queue.enqueue(chunks, sent.resolve).finally(sent.resolve);
  const marking = sent.promise.then(() => state.moveBehind(last, compared, jobs));
  const [enqueued, marked] = await Promise.allSettled([enqueuing, marking]);
  if (enqueued.status === 'rejected') throw enqueued.reason;
  if (marked.status === 'rejected') throw marked.reason;
  if (marked.value === 'elsewhere') return 'elsewhere';
  const isSame = (): boolean => before === returns();
  if (marked.value === 'early' && isSame() && !(await state.moveTo(last, compared))) return 'elsewhere';
  return isSame() ? 'moved' : 'again';
}
