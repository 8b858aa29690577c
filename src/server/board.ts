import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance } from 'fastify';
import { describeChunk } from '../core/chunk.ts';
import { type StoredChunk, unpackChunk } from '../core/packed-chunk.ts';

/** A queue as the board shows it. */
export interface BoardQueue {
  readonly queue: Queue;
  readonly shard: number;
}

const PATH = '/queues';

/** bull-board at `/queues`, read-only: chunks as readable JSON, dead letters with their bytes and reasons. */
export async function boardRoutes(
  server: FastifyInstance,
  queues: () => readonly BoardQueue[],
): Promise<void> {
  const board = new FastifyAdapter();
  let shown = queues();
  const { replaceQueues } = createBullBoard({
    queues: shown.map(adapterOf),
    serverAdapter: board,
    options: { uiConfig: { boardTitle: 'Cachewright' } },
  });
  board.setBasePath(PATH);
  // Shards of the queue may be found later.
  server.addHook('onRequest', (request, _, done) => {
    if (request.url.startsWith(PATH) && queues().length !== shown.length) {
      shown = queues();
      replaceQueues(shown.map(adapterOf));
    }
    done();
  });
  // bull-board asks a font host on the internet; a console for operators talks to its own server only.
  server.addHook('onSend', (request, reply, payload, done) => {
    if (request.url.startsWith(PATH)) {
      reply.header(
        'content-security-policy',
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
      );
    }
    done(null, payload);
  });
  await server.register(board.registerPlugin(), { prefix: PATH });
}

/** The first shard's queues bear their own names, as they do where there is but one. */
function adapterOf({ queue, shard }: BoardQueue): BullMQAdapter {
  const prefix = shard === 0 ? '' : `shard-${shard}-`;
  const adapter = new BullMQAdapter(queue, { readOnlyMode: true, prefix });
  adapter.setFormatter('data', (data: unknown) => (isChunk(data) ? describeChunk(unpackChunk(data)) : data));
  return adapter;
}

function isChunk(data: unknown): data is StoredChunk {
  return typeof data === 'object' && data !== null && ('values' in data || 'packed' in data);
}
