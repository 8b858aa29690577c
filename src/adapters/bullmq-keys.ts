/** Names of the keys of one queue; all carry its hash tag and so share a slot. */
export interface QueueKeys {
  readonly job: (id: string) => string;
  readonly lock: (id: string) => string;
  /** BullMQ's lists (wait, paused, active) and then its sets (delayed, prioritized, failed) of jobs that are not finished. */
  readonly unfinished: readonly string[];
  readonly auditOutbox: string;
  readonly deadOutbox: string;
  /** Letters on their way to a Kafka topic. */
  readonly deadKafkaOutbox: string;
}

const UNFINISHED = ['wait', 'paused', 'active', 'delayed', 'prioritized', 'failed'];

/** @param prefix hash-tagged, e.g. `{cachewright}` · @param queue BullMQ's queue name */
export function queueKeys(prefix: string, queue: string): QueueKeys {
  return {
    job: (id) => `${prefix}:${queue}:${id}`,
    lock: (id) => `${prefix}:${queue}:${id}:lock`,
    unfinished: UNFINISHED.map((type) => `${prefix}:${queue}:${type}`),
    auditOutbox: `${prefix}:audit-outbox`,
    deadOutbox: `${prefix}:dead-outbox`,
    deadKafkaOutbox: `${prefix}:dead-kafka-outbox`,
  };
}
