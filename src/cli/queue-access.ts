import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import type { RedisClient } from '../adapters/redis-connection.ts';
import { openQueueShards, type QueueShards } from '../app/queue-shards.ts';
import type { Config } from '../config/schema.ts';
import type { ChunkQueue } from '../core/ports.ts';
import type { ChunkLimits } from '../ingest/cut.ts';
import { createSubmit, type Submit } from '../ingest/submit.ts';
import { silentLog } from './silent-log.ts';

/** The queue as a command uses it, over a connection of its own. */
export interface QueueAccess {
  readonly queue: ChunkQueue;
  readonly shards: QueueShards;
  readonly submit: Submit;
  readonly limits: ChunkLimits;
}

/** @param maxMessages of one job, where that is to be fewer than configured */
export function openQueue(
  config: Config,
  redis: RedisClient,
  maxMessages: number = config.queue.maxChunkMessages,
): QueueAccess {
  const { maxChunkMessages, maxChunkBytes } = config.queue;
  const shards = openQueueShards({ config, redis, log: silentLog });
  const { queue } = shards;
  const limits = { maxChunkMessages: Math.min(maxMessages, maxChunkMessages), maxChunkBytes };
  const machine = machineName(compileChart(changeMessage));
  return { queue, shards, limits, submit: createSubmit({ queue, machine, limits }) };
}
