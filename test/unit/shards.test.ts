import { describe, expect, it } from 'vitest';
import { createShardedQueue } from '../../src/ingest/sharded-queue.ts';
import type { ChunkQueue, QueuedChunk } from '../../src/core/ports.ts';
import { MAX_SHARDS, shardOfName, shardOfPlace, shardPrefix, shareOf } from '../../src/core/shards.ts';
import { chunkOf } from '../../src/core/chunk.ts';

const counts = Array.from({ length: MAX_SHARDS }, (_, index) => index + 1);
const spread = (shards: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, shard) => shards.filter((each) => each === shard).length);

describe('the shard of a partition', () => {
  it('never changes: jobs and marks are found by it', () => {
    const places = [
      { topic: 'cache-message', partition: 0 },
      { topic: 'cache-message', partition: 1 },
      { topic: 'orders', partition: 0 },
      { topic: 'größe', partition: 7 },
    ];
    expect(places.map((place) => [2, 3, 12, 64].map((count) => shardOfPlace(place, count)))).toEqual([
      [0, 1, 4, 36],
      [1, 2, 5, 37],
      [1, 0, 3, 15],
      [0, 1, 10, 54],
    ]);
    expect([2, 3, 12, 64].map((count) => shardOfName('http.01J-01K', count))).toEqual([1, 0, 3, 31]);
  });

  it.each(counts)('is one of %d', (count) => {
    for (let partition = 0; partition < 100; partition += 1) {
      const shard = shardOfPlace({ topic: `topic-${partition % 7}`, partition }, count);
      expect(shard).toBeGreaterThanOrEqual(0);
      expect(shard).toBeLessThan(count);
    }
  });

  it('goes round with the partitions of a topic, so that each shard has as many', () => {
    for (const count of [2, 3, 5, 12]) {
      const shards = Array.from({ length: count * 4 }, (_, partition) =>
        shardOfPlace({ topic: 't', partition }, count),
      );
      expect(spread(shards, count)).toEqual(Array.from({ length: count }, () => 4));
    }
  });

  it('differs for topics of one partition, and for posted chunks', () => {
    for (const count of [2, 3, 8]) {
      const topics = Array.from({ length: 1_000 }, (_, index) =>
        shardOfPlace({ topic: `shop.${index}.events`, partition: 0 }, count),
      );
      const posted = Array.from({ length: 1_000 }, (_, index) =>
        shardOfName(`http.${index}-${index}`, count),
      );
      for (const shards of [topics, posted]) {
        for (const share of spread(shards, count)) {
          expect(share).toBeGreaterThan((1_000 / count) * 0.8);
          expect(share).toBeLessThan((1_000 / count) * 1.2);
        }
      }
    }
  });
});

it('the first shard has the prefix of a queue without shards, and no other queue can have that of the others', () => {
  expect(shardPrefix('cachewright', 0)).toBe('{cachewright}');
  expect(shardPrefix('cachewright', 2)).toBe('{cachewright:2}');
  expect(/^[A-Za-z0-9_-]{1,50}$/.test('cachewright:2')).toBe(false);
});

it.each([1, 2, 3, 16, 17, 64, 1_000])(
  'of %d chunks in hand each shard has an even part, and at least one',
  (concurrency) => {
    for (const count of counts) {
      const shares = Array.from({ length: count }, (_, shard) => shareOf(concurrency, shard, count));
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(Math.max(concurrency, count));
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  },
);

describe('a queue of several shards', () => {
  const origin = { stream: 't-0', epoch: 0, position: '1' };
  const aMessage = { origin, timestampMs: 1, key: null, value: 'x', headers: [] };
  const aChunk = (id: string, partition?: number): QueuedChunk => ({
    id,
    name: id,
    data: chunkOf([aMessage], 'm@1'),
    ...(partition !== undefined && { place: { topic: 't', partition } }),
  });

  function aQueue(configured: number) {
    const steps: string[] = [];
    const queues = Array.from(
      { length: 4 },
      (_, shard): ChunkQueue => ({
        async enqueue(chunks, sent) {
          steps.push(...chunks.map(({ id }) => `${shard}: ${id}`));
          sent?.();
        },
        depth: async () => ({ jobs: shard + 1, bytes: 10 * shard }),
        close: async () => undefined,
      }),
    );
    const queue = createShardedQueue({
      shards: {
        configured,
        count: () => 4,
        look: async () => 4,
        ready: async () => void steps.push('written down'),
      },
      at: (shard) => queues[shard] ?? expect.fail(`there is no shard ${shard}`),
    });
    return { queue, steps };
  }

  it('puts each chunk into its own shard once these are written down, and tells once that all are sent', async () => {
    const { queue, steps } = aQueue(3);
    const at = (partition: number): number => shardOfPlace({ topic: 't', partition }, 3);
    await queue.enqueue([aChunk('a', 0), aChunk('b', 1), aChunk('c', 2), aChunk('d', 3), aChunk('e')], () =>
      steps.push('sent'),
    );
    expect(steps[0]).toBe('written down');
    expect(steps.at(-1)).toBe('sent');
    expect(steps.filter((step) => step === 'sent')).toHaveLength(1);
    expect(steps.slice(1, -1).sort()).toEqual(
      [`${at(0)}: a`, `${at(1)}: b`, `${at(2)}: c`, `${at(0)}: d`, `${shardOfName('e', 3)}: e`].sort(),
    );
  });

  it('is as deep as all shards there are, also those that are not configured any more', async () => {
    expect(await aQueue(1).queue.depth()).toEqual({ jobs: 10, bytes: 60 });
  });
});
