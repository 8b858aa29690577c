import { createKafkaDeadLetters } from '../adapters/kafka-dead-letters.ts';
import { createMoverLease } from '../adapters/redis-mover-lease.ts';
import { createRedisOutbox } from '../adapters/redis-outbox.ts';
import type { KafkaConfig } from '../config/schema.ts';
import { createDeadLetterDelivery, type DeadLetterDelivery } from '../dead-letters/deliver.ts';
import { kafkaConnection } from './kafka-connection.ts';
import type { Parts } from './parts.ts';
import type { QueueShard } from './queue-shards.ts';

/** Delivers dead letters of a shard to Kafka, where the configuration asks for it. */
export function deadLetterDelivery(
  parts: Parts,
  kafka: KafkaConfig,
  { prefix, keys }: QueueShard,
): DeadLetterDelivery | undefined {
  const { connections, clock, log } = parts;
  const { deadLetters, groupId } = kafka;
  if (deadLetters === undefined) return undefined;
  return createDeadLetterDelivery({
    outbox: createRedisOutbox(connections.queue, keys.deadKafkaOutbox),
    topic: createKafkaDeadLetters({
      ...kafkaConnection(kafka, log),
      pattern: deadLetters.topic,
      connector: groupId,
      clock,
    }),
    lease: createMoverLease(connections.queue, `${prefix}:dead-kafka-mover`),
    clock,
    log,
  });
}
