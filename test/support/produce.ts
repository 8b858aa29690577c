import { type CompressionTypes, Kafka, logLevel, Partitioners } from 'kafkajs';
import type { SourceRecord } from '../../src/core/ports.ts';

/** A plain producer for tests: to a partition of one's choice, with headers of one name, compressed as one likes. */
export async function produceTo(brokers: readonly string[]) {
  const kafka = new Kafka({
    clientId: 'cachewright-test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
  });
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  return {
    async send(
      topic: string,
      partition: number,
      records: readonly Partial<Omit<SourceRecord, 'offset'>>[],
      compression?: CompressionTypes,
    ): Promise<void> {
      await producer.send({
        topic,
        ...(compression !== undefined && { compression }),
        messages: records.map(({ value = null, key = null, headers = [], timestampMs }) => ({
          partition,
          value,
          key,
          headers: gather(headers),
          ...(timestampMs !== undefined && { timestamp: String(timestampMs) }),
        })),
      });
    },
    close: () => producer.disconnect(),
  };
}

function gather(headers: SourceRecord['headers']): Record<string, Buffer[]> {
  const gathered: Record<string, Buffer[]> = {};
  for (const [name, value] of headers) gathered[name] = [...(gathered[name] ?? []), value];
  return gathered;
}
