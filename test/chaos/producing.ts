import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { waitFor } from '../support/servers/process.ts';
import type { Planned } from './load.ts';
import type { World } from './world.ts';

/** Message id → what it was, and when Kafka acknowledged it, epoch milliseconds. */
export type Acknowledged = Map<string, { readonly planned: Planned; readonly atMs: number }>;

/** A producer that is told nothing sends again: a batch may be in Kafka twice, never not at all. */
export async function openProducer({ kafka, topic, truth }: World, acknowledged: Acknowledged) {
  const client = new Kafka({
    clientId: 'chaos-producer',
    brokers: [...kafka.brokers],
    logLevel: logLevel.NOTHING,
    requestTimeout: 5_000,
    retry: { retries: 3 },
  });
  const producer = client.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  return {
    async send(batch: readonly Planned[]): Promise<void> {
      for (const planned of batch) truth.take(planned);
      const partitions = Map.groupBy(batch, ({ partition }) => partition);
      const messages = batch.map(({ partition, key, text }) => ({
        partition,
        key: key === '' ? null : Buffer.from(key),
        value: Buffer.from(text),
      }));
      const answers = await waitFor(() => producer.send({ topic, acks: -1, messages }), {
        what: 'Kafka to acknowledge',
        timeoutMs: 120_000,
        everyMs: 200,
      });
      const atMs = Date.now();
      for (const { partition, baseOffset = '0' } of answers) {
        for (const [place, planned] of (partitions.get(partition) ?? []).entries()) {
          const offset = BigInt(baseOffset) + BigInt(place);
          acknowledged.set(`${topic}-${partition}@${offset}`, { planned, atMs });
        }
      }
    },
    close: () => producer.disconnect(),
  };
}
