import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { patchIdleKafka } from '../../src/adapters/kafka-idle-patch.ts';

/** What a baseline's process is told, as JSON in its first argument. */
export interface BaselineTask {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly groupId: string;
  readonly redisUrl: string;
}

/** Where a baseline says how many messages it is through with. */
export const DONE_KEY = 'bench:done';

/** Pause between two reports: often enough for runs of seconds, too rare to cost anything. */
const REPORT_EVERY_MS = 20;

export function readTask(): BaselineTask {
  const task: BaselineTask = JSON.parse(process.argv[2] ?? '');
  return task;
}

/** The product's patch for idle connections is in use here too: an honest baseline does not spin. */
export function createConsumer(task: BaselineTask): ReturnType<Kafka['consumer']> {
  patchIdleKafka();
  const kafka = new Kafka({
    clientId: 'bench-baseline',
    brokers: [...task.brokers],
    logLevel: logLevel.NOTHING,
  });
  return kafka.consumer({ groupId: task.groupId, maxBytesPerPartition: 2_097_152 });
}

/** Counts finished messages and reports them to Redis from time to time, on a connection of its own. */
export function reportDone(redisUrl: string): { add(count: number): void } {
  const redis = new Redis(redisUrl);
  let done = 0;
  let reported = 0;
  setInterval(() => {
    if (done === reported) return;
    reported = done;
    redis.set(DONE_KEY, done).catch(() => undefined); // the next report says it again
  }, REPORT_EVERY_MS);
  return { add: (count) => void (done += count) };
}
