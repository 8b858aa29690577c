import { drain, fillBacklog } from '../drain.ts';
import type { BenchRedis } from '../lab.ts';
import { productLoad } from '../load.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

/** Whether speed depends on how many keys, messages or partitions there are. */
export const keysGrowth: Scenario = {
  name: 'keys-growth',
  metrics: [
    { name: 'throughput', unit: 'messages/s', better: 'higher' },
    { name: 'redisPerKey', unit: 'bytes', better: 'lower' },
  ],
  bars: ['more keys', 'more messages', '3 partitions'].map((subject) => ({
    subject,
    metric: 'throughput',
    over: 'few keys',
    atLeast: 0.85,
  })),
  async prepare(lab) {
    const base = lab.pick({ quick: 100_000, default: 150_000, full: 1_000_000 });
    const longer = 2 * base;
    const shapes = [
      { subject: 'few keys', messages: base, keys: 1_000, partitions: 1 },
      { subject: 'more keys', messages: base, keys: base, partitions: 1 },
      { subject: 'more messages', messages: longer, keys: 1_000, partitions: 1 },
      { subject: '3 partitions', messages: base, keys: 1_000, partitions: 3 },
    ];
    const trials = [];
    for (const { subject, messages, keys, partitions } of shapes) {
      const backlog = await fillBacklog(lab, productLoad(messages, keys, 'inTurn'), partitions);
      const inspect = async (_: unknown, redis: BenchRedis): Promise<Record<string, number>> =>
        // With few keys the queue's own few megabytes would be all there is to see.
        keys < base ? {} : { redisPerKey: (await usedBytes(redis)) / keys };
      trials.push({ subject, run: () => drain(lab, backlog, product(), { inspect }) });
    }
    const count = (value: number): string => value.toLocaleString('en');
    return {
      title: `1,000 → ${count(base)} keys, ${count(base)} → ${count(longer)} messages, 1 → 3 partitions`,
      trials,
    };
  },
};

async function usedBytes(redis: BenchRedis): Promise<number> {
  return Number(/used_memory_dataset:(\d+)/.exec(await redis.client.info('memory'))?.[1]);
}
