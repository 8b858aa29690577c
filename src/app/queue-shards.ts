import { createDeadLetterBox } from '../adapters/bullmq-dead-letter-box.ts';
import { type QueueKeys, queueKeys } from '../adapters/bullmq-keys.ts';
import { createChunkQueue } from '../adapters/bullmq-queue.ts';
import type { RedisClient } from '../adapters/redis-connection.ts';
import { createRedisMarks } from '../adapters/redis-mark.ts';
import { watchReturns } from '../adapters/redis-returns.ts';
import { createShardMarks } from '../adapters/redis-shard-marks.ts';
import { createShardRegister } from '../adapters/redis-shard-register.ts';
import type { Config } from '../config/schema.ts';
import type { ChunkQueue, Clock, DeadLetterBox, Log, MarkStore, ShardRegister } from '../core/ports.ts';
import { shardPrefix } from '../core/shards.ts';
import { createShardedBox } from '../dead-letters/sharded-box.ts';
import { partitionPart } from '../ingest/chunk-id.ts';
import { createShardedQueue } from '../ingest/sharded-queue.ts';

/** BullMQ's name of the queue of chunks. */
export const QUEUE = 'changes';

/** One shard of the queue. */
export interface QueueShard {
  readonly number: number;
  /** Hash-tagged: begins every key of the shard. */
  readonly prefix: string;
  readonly keys: QueueKeys;
  readonly queue: ChunkQueue;
}

/** The queue of a configuration with all its shards, over one connection. */
export interface QueueShards {
  readonly register: ShardRegister;
  at(shard: number): QueueShard;
  /** Those that are known of now. */
  all(): readonly QueueShard[];
  /** All of them as one. Its `close` closes each. */
  readonly queue: ChunkQueue;
  /** Opens the marks of all of them. */
  marks(): MarkStore & { close(): void };
  /** Opens the dead letters of all of them. */
  letters(clock: Clock): DeadLetterBox;
}

export interface QueueShardsOptions {
  readonly config: Pick<Config, 'queue'>;
  /** The queue's Redis, failing fast; stays the caller's. */
  readonly redis: RedisClient;
  readonly log: Log;
  /** See `RedisReturnsOptions`. */
  readonly watchMs?: number;
  /** Put around the queue of each shard. */
  readonly wrapQueue?: (queue: ChunkQueue) => ChunkQueue;
}

export function openQueueShards(options: QueueShardsOptions): QueueShards {
  const { redis, log, watchMs, wrapQueue = (queue) => queue } = options;
  const { prefix: name, shards: configured, keepCompleted: keep } = options.config.queue;
  const register = createShardRegister({ redis, prefix: shardPrefix(name, 0), configured });
  const opened: QueueShard[] = [];
  const open = (number: number): QueueShard => {
    const prefix = shardPrefix(name, number);
    const queue = wrapQueue(createChunkQueue({ redis, prefix, name: QUEUE, keep, log }));
    return { number, prefix, keys: queueKeys(prefix, QUEUE), queue };
  };
  const at = (shard: number): QueueShard => (opened[shard] ??= open(shard));
  return {
    register,
    at,
    all: () => Array.from({ length: register.count() }, (_, shard) => at(shard)),
    queue: createShardedQueue({ shards: register, at: (shard) => at(shard).queue }),
    marks() {
      const slots = Array.from({ length: configured }, (_, shard) => `${at(shard).prefix}:marks`);
      const returns = watchReturns({
        connection: redis,
        slots,
        ...(watchMs !== undefined && { watchMs }),
        log,
      });
      return createShardMarks({
        shards: register,
        returns,
        open: (shard) =>
          createRedisMarks({ connection: redis, prefix: at(shard).prefix, queue: QUEUE, returns, log }),
        idsBegin: ({ groupId: group, topic, partition }) => `${partitionPart({ group, topic, partition })}.`,
        log,
      });
    },
    letters: (clock) =>
      createShardedBox({
        shards: register,
        at(shard) {
          const { prefix, keys } = at(shard);
          return createDeadLetterBox({ redis, prefix, chunks: keys, clock, log });
        },
      }),
  };
}
