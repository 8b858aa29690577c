import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { KafkaSasl } from '../../src/adapters/kafka-connection.ts';
import { createKafkaProducer } from '../../src/adapters/kafka-producer.ts';
import { createKafkaSource } from '../../src/adapters/kafka-source.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { clock, openQueue, rememberingLog, startIngest, values } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const PASSWORD = 'correct-horse-battery';

describeWith(['kafka', 'redis'], 'ingest from a Kafka that asks who we are, or is away', () => {
  let kafka: KafkaCluster;
  let topic = '';
  beforeAll(async () => {
    kafka = await startKafka({ saslUsers: { alice: PASSWORD } });
  });
  afterAll(() => kafka.stop());
  beforeEach(async () => {
    topic = uniqueName('access');
    await kafka.createTopic(topic);
  });

  it.each(['plain', 'scram-sha-256'] as const)(
    'reads and publishes with the right credentials: %s',
    async (mechanism) => {
      const sasl: KafkaSasl = { mechanism, username: 'alice', password: PASSWORD };
      const producer = createKafkaProducer({ brokers: kafka.saslBrokers, sasl, log: silentLog });
      await producer.send(topic, [{ value: 'secret hello' }]);
      await producer.close();
      const { url } = await sharedRedis();
      const prefix = `{${uniqueName('ingest')}}`;
      const queue = openQueue(url, prefix);
      const ingest = await startIngest({
        redisUrl: url,
        prefix,
        kafka: { brokers: kafka.saslBrokers, topics: [topic], groupId: uniqueName('g'), sasl },
      });
      expect((await queue.waitForMessages(1))[0]?.value).toBe('secret hello');
      await ingest.stop();
      await queue.close();
    },
  );

  it.each(['plain', 'scram-sha-256'] as const)(
    'refuses to start with wrong credentials, and shows them nowhere: %s',
    async (mechanism) => {
      const log = rememberingLog();
      const sasl: KafkaSasl = { mechanism, username: 'alice', password: 'not-her-password' };
      const source = createKafkaSource({
        brokers: kafka.saslBrokers,
        topics: [topic],
        groupId: 'g',
        sasl,
        clock,
        log,
      });
      await expect(source.start(() => Promise.resolve())).rejects.toMatchObject({ code: 'E_KAFKA_AUTH' });
      await source.close();
      const producer = createKafkaProducer({ brokers: kafka.saslBrokers, sasl, log });
      await expect(producer.send(topic, [{ value: 'x' }])).rejects.toMatchObject({ code: 'E_KAFKA_AUTH' });
      await producer.close();
      expect(log.lines.length).toBeGreaterThan(0);
      expect(JSON.stringify(log.lines)).not.toContain('not-her-password');
    },
  );

  it('waits for a broker that is not up yet, and gets over one that goes away', async () => {
    const { url } = await sharedRedis();
    const prefix = `{${uniqueName('ingest')}}`;
    const queue = openQueue(url, prefix);
    const publish = async (texts: readonly string[]): Promise<void> => {
      const producer = createKafkaProducer({ brokers: kafka.brokers, log: silentLog });
      await producer.send(
        topic,
        texts.map((value) => ({ value })),
      );
      await producer.close();
    };
    await publish(values(3));
    await kafka.stopBroker(0);
    const starting = startIngest({
      redisUrl: url,
      prefix,
      kafka: { brokers: kafka.brokers, topics: [topic], groupId: uniqueName('g') },
    });
    await kafka.startBroker(0);
    const ingest = await starting;
    await queue.waitForMessages(3);
    await kafka.killBroker(0);
    await waitFor(
      () => ingest.log.lines.some(({ level, message }) => level === 'warn' && message.startsWith('kafkajs')),
      { what: 'the loss to be noticed', timeoutMs: 30_000 },
    );
    await kafka.startBroker(0);
    await publish(values(3, 'v', 3));
    expect((await queue.waitForMessages(6, 60_000)).map(({ value }) => value)).toEqual(values(6));
    await waitFor(() => ingest.source.isHealthy().healthy, {
      what: 'the health to return',
      timeoutMs: 60_000,
    });
    await ingest.stop();
    await queue.close();
  });
});
