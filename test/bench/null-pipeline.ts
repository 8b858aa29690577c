/**
 * The least a cache writer can do: read a batch, parse, one MSET, commit. No retry, no fence, no record of anything.
 * The ceiling that everything else is compared with.
 */
import { Redis } from 'ioredis';
import { createConsumer, readTask, reportDone } from './baseline-child.ts';

const task = readTask();
const redis = new Redis(task.redisUrl);
const done = reportDone(task.redisUrl);
const consumer = createConsumer(task);

await consumer.connect();
await consumer.subscribe({ topic: task.topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  partitionsConsumedConcurrently: task.partitions,
  eachBatch: async (payload) => {
    const { batch } = payload;
    const pairs: (string | Buffer)[] = [];
    for (const { value } of batch.messages) {
      if (value === null) continue;
      const { id }: { id: number } = JSON.parse(value.toString());
      pairs.push(`product_info_${id}`, value);
    }
    if (pairs.length > 0) await redis.mset(...pairs);
    const { topic, partition } = batch;
    payload.resolveOffset(batch.lastOffset());
    const next = (BigInt(batch.lastOffset()) + 1n).toString();
    await consumer.commitOffsets([{ topic, partition, offset: next }]);
    done.add(pairs.length / 2);
  },
});
