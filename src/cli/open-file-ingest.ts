import type { RedisClient } from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/ports.ts';
import { createBackPressure, queueGauges } from '../ingest/back-pressure.ts';
import type { Submit } from '../ingest/submit.ts';
import { createFileIngest, type FileIngest } from './file-ingest.ts';
import { openQueue } from './queue-access.ts';
import { silentLog } from './silent-log.ts';

/** Where a command that puts lines into the queue differs from `cachewright ingest`. */
export interface FileIngestPace {
  /** Messages of one job. @defaultValue `queue.maxChunkMessages` */
  readonly maxMessages?: number;
  /** Jobs in the queue from which it waits, and at which it goes on. @defaultValue the queue's water marks */
  readonly jobs?: { readonly high: number; readonly low: number };
  /** How long one look at the queue serves, milliseconds. */
  readonly lookEveryMs?: number;
  /** Slows the way into the queue down. */
  readonly paced?: (submit: Submit, clock: Clock) => Submit;
}

/** The way of a file's lines into the queue of this configuration; `redis` stays the caller's. */
export function openFileIngest(
  config: Config,
  redis: RedisClient,
  { maxMessages, jobs, lookEveryMs, paced = (submit) => submit }: FileIngestPace = {},
): { ingest: FileIngest; close(): Promise<void> } {
  const clock = systemClock();
  const { highWaterJobs, lowWaterJobs, highWaterBytes, lowWaterBytes } = config.queue;
  const { queue, shards, submit, limits } = openQueue(config, redis, maxMessages);
  const marks = shards.marks();
  const ingest = createFileIngest({
    marks,
    submit: paced(submit, clock),
    backPressure: createBackPressure({
      gauges: queueGauges(queue, {
        highJobs: jobs?.high ?? highWaterJobs,
        lowJobs: jobs?.low ?? lowWaterJobs,
        highBytes: highWaterBytes,
        lowBytes: lowWaterBytes,
      }),
      ...(lookEveryMs !== undefined && { everyMs: lookEveryMs }),
      clock,
      log: silentLog,
    }),
    limits,
    clock,
  });
  return {
    ingest,
    async close() {
      marks.close();
      await queue.close();
    },
  };
}
