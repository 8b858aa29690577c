import type { RedisClient } from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import type { ChunkQueue } from '../core/ports.ts';
import { type Gauge, queueGauges } from '../ingest/back-pressure.ts';

/** What makes ingest pause, and posted changes be refused: jobs and bytes in the queue, and audit entries that wait for their store. */
export function gaugesOf(around: {
  readonly queue: ChunkQueue;
  readonly config: Config;
  readonly redis: RedisClient;
  /** Name of the audit outbox. */
  readonly outbox: string;
}): Gauge[] {
  const { queue, config, redis, outbox } = around;
  const { highWaterJobs, lowWaterJobs, highWaterBytes, lowWaterBytes } = config.queue;
  const high = config.audit.outboxMaxEntries;
  return [
    ...queueGauges(queue, {
      highJobs: highWaterJobs,
      lowJobs: lowWaterJobs,
      highBytes: highWaterBytes,
      lowBytes: lowWaterBytes,
    }),
    {
      name: 'audit outbox',
      high,
      low: Math.floor(high / 2),
      read: () => redis.xlen(outbox),
    },
  ];
}
