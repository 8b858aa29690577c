import type { KafkaConnectionOptions } from '../adapters/kafka-connection.ts';
import type { KafkaConfig } from '../config/schema.ts';
import type { Log } from '../core/ports.ts';

/** How the Kafka cluster of a configuration is reached, for the source and the producer alike. */
export function kafkaConnection(kafka: KafkaConfig, log: Log): KafkaConnectionOptions {
  const { brokers, zookeeper, ssl, sasl, clientId } = kafka;
  return {
    ...(zookeeper === undefined ? { brokers } : { zookeeper, brokers }),
    ssl: typeof ssl === 'boolean' ? ssl : definedOf(ssl),
    ...(sasl !== undefined && { sasl }),
    clientId,
    log,
  };
}

function definedOf<Given extends object>(given: Given): { [Name in keyof Given]?: NonNullable<Given[Name]> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Name in keyof Given]?: NonNullable<Given[Name]> };
}
