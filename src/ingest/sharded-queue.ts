import { fail, reasonOf } from '../core/errors.ts';
import type { ChunkQueue, QueuedChunk, ShardRegister } from '../core/ports.ts';
import { shardOfName, shardOfPlace } from '../core/shards.ts';

export interface ShardedQueueOptions {
  readonly shards: ShardRegister;
  /** The queue of one shard. */
  readonly at: (shard: number) => ChunkQueue;
}

/** All shards of the queue as one: each chunk goes to its own, and the depth is that of all. */
export function createShardedQueue({ shards, at }: ShardedQueueOptions): ChunkQueue {
  const shardOf = ({ id, place }: QueuedChunk): number =>
    place === undefined ? shardOfName(id, shards.configured) : shardOfPlace(place, shards.configured);

  return {
    async enqueue(chunks, sent) {
      await shards.ready().catch((error: unknown) => {
        throw fail('E_ENQUEUE_FAILED', { reason: reasonOf(error) });
      });
      const parts = new Map<number, QueuedChunk[]>();
      for (const chunk of chunks) {
        const shard = shardOf(chunk);
        const part = parts.get(shard);
        if (part === undefined) parts.set(shard, [chunk]);
        else part.push(chunk);
      }
      let unsent = parts.size;
      const onSent = sent && ((): void => void ((unsent -= 1) === 0 && sent()));
      await Promise.all([...parts].map(([shard, part]) => at(shard).enqueue(part, onSent)));
    },
    async depth() {
      const depths = await Promise.all(
        Array.from({ length: shards.count() }, (_, shard) => at(shard).depth()),
      );
      return {
        jobs: depths.reduce((sum, { jobs }) => sum + jobs, 0),
        bytes: depths.reduce((sum, { bytes }) => sum + bytes, 0),
      };
    },
    async close() {
      await Promise.all(Array.from({ length: shards.count() }, (_, shard) => at(shard).close()));
    },
  };
}
