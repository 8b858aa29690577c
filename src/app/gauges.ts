import type { RedisClient } from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import { type Gauge, queueGauges } from '../ingest/back-pressure.ts';
import type { QueueShards } from './queue-shards.ts';

/** What makes ingest pause, and posted changes be refused: jobs and bytes in the queue, and audit entries that wait for their store. */
export function gaugesOf(around: {
  readonly shards: QueueShards;
  readonly config: Config;
  readonly redis: RedisClient;
}): Gauge[] {
  const { shards, config, redis } = around;
  const { highWaterJobs, lowWaterJobs, highWaterBytes, lowWaterBytes } = config.queue;
  const high = config.audit.outboxMaxEntries;
  return [
    ...queueGauges(shards.queue, {
      highJobs: highWaterJobs,
      lowJobs: lowWaterJobs,
      highBytes: highWaterBytes,
      lowBytes: lowWaterBytes,
    }),
    {
      name: 'audit outbox',
      high,
      low: Math.floor(high / 2),
      async read() {
        const lengths = await Promise.all(shards.all().map(({ keys }) => redis.xlen(keys.auditOutbox)));
        return lengths.reduce((sum, length) => sum + length, 0);
      },
    },
  ];
}
