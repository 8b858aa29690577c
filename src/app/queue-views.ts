import { DEAD_LETTER_QUEUE } from '../adapters/bullmq-dead-letters.ts';
import { openQueueViews } from '../adapters/bullmq-views.ts';
import type { BoardQueue } from '../server/board.ts';
import type { Parts } from './parts.ts';
import { QUEUE } from './queue-shards.ts';

/** The queues of all shards that are known when it is asked, for the queue board: first all chunks, then all dead letters. */
export function createQueueViews({ connections, shards, log }: Parts): () => readonly BoardQueue[] {
  const opened: BoardQueue[][] = [];
  const open = (number: number, prefix: string): BoardQueue[] =>
    openQueueViews([QUEUE, DEAD_LETTER_QUEUE], { connection: connections.blocking, prefix, log }).map(
      (queue) => ({ queue, shard: number }),
    );
  return () => {
    const all = shards.all().map(({ number, prefix }) => (opened[number] ??= open(number, prefix)));
    return [QUEUE, DEAD_LETTER_QUEUE].flatMap((_, at) => all.flatMap((views) => views[at] ?? []));
  };
}
