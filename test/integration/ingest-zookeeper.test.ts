import { afterAll, beforeAll, expect, it } from 'vitest';
import { createKafkaProducer } from '../../src/adapters/kafka-producer.ts';
import { createZookeeperDiscovery } from '../../src/adapters/kafka-zookeeper.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { openQueue, rememberingLog, startIngest, values } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { freePort, waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['zookeeper', 'redis'], 'brokers discovered from ZooKeeper', () => {
  let kafka: KafkaCluster;
  let zookeeper = '';
  beforeAll(async () => {
    kafka = await startKafka({ mode: 'zookeeper' });
    zookeeper = kafka.zookeeper ?? '';
  });
  afterAll(() => kafka.stop());

  it('gives the addresses that the brokers registered', async () => {
    const discover = createZookeeperDiscovery({ connect: zookeeper, protocol: 'PLAINTEXT', log: silentLog });
    expect(await discover()).toEqual(kafka.brokers);
  });

  it('says so when no broker has a listener that fits', async () => {
    const discover = createZookeeperDiscovery({ connect: zookeeper, protocol: 'SASL_SSL', log: silentLog });
    await expect(discover()).rejects.toMatchObject({
      code: 'E_UNREACHABLE',
      message: expect.stringContaining('SASL_SSL'),
    });
  });

  it('uses the brokers known last when ZooKeeper is away, and says so; with none it fails', async () => {
    const away = `127.0.0.1:${await freePort()}/kafka`;
    const log = rememberingLog();
    const remembering = createZookeeperDiscovery({
      connect: away,
      protocol: 'PLAINTEXT',
      fallback: ['a:1'],
      timeoutMs: 300,
      log,
    });
    expect(await remembering()).toEqual(['a:1']);
    expect(log.lines.map(({ level }) => level)).toEqual(['warn']);
    const empty = createZookeeperDiscovery({
      connect: away,
      protocol: 'PLAINTEXT',
      timeoutMs: 300,
      log: silentLog,
    });
    await expect(empty()).rejects.toMatchObject({ code: 'E_UNREACHABLE' });
  });

  it('lets ingest and publishing work with nothing but the ZooKeeper address, through a restart of the broker', async () => {
    const topic = uniqueName('zookeeper');
    await kafka.createTopic(topic);
    const { url } = await sharedRedis();
    const prefix = `{${uniqueName('ingest')}}`;
    const queue = openQueue(url, prefix);
    const publish = async (texts: readonly string[]): Promise<void> => {
      const producer = createKafkaProducer({ zookeeper, log: silentLog });
      await producer.send(
        topic,
        texts.map((value) => ({ value })),
      );
      await producer.close();
    };
    await publish(values(3));
    const ingest = await startIngest({
      redisUrl: url,
      prefix,
      kafka: { zookeeper, topics: [topic], groupId: uniqueName('g') },
    });
    await queue.waitForMessages(3);
    await kafka.stopBroker(0);
    await waitFor(
      () => ingest.log.lines.some(({ level, message }) => level === 'warn' && message.startsWith('kafkajs')),
      { what: 'the loss to be noticed', timeoutMs: 30_000 },
    );
    await kafka.startBroker(0);
    await publish(values(3, 'v', 3));
    expect((await queue.waitForMessages(6, 60_000)).map(({ value }) => value)).toEqual(values(6));
    await ingest.stop();
    await queue.close();
  });
});
