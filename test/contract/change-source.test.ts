import { createKafkaSource } from '../../src/adapters/kafka-source.ts';
import { MemoryCluster } from '../../src/adapters/memory-cluster.ts';
import { createMemorySource } from '../../src/adapters/memory-source.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { clock } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';
import { changeSourceSuite } from './change-source-suite.ts';

changeSourceSuite('in memory', () => {
  const cluster = new MemoryCluster('memory');
  cluster.create('t', 0);
  cluster.create('t', 1);
  const make = (topics: readonly string[]) => createMemorySource({ cluster, groupId: 'g', topics, clock });
  return Promise.resolve({
    topic: 't',
    makeSource: () => make(['t']),
    makeLost: () => make(['t', 'nowhere']),
    append(partition, records) {
      const whole = records.map(({ value = null, key = null, headers = [], timestampMs = 0 }) => ({
        value,
        key,
        headers,
        timestampMs,
      }));
      return Promise.resolve(cluster.append('t', partition, whole));
    },
    close: () => Promise.resolve(),
  });
});

describeWith(['kafka'], 'Kafka', () => {
  changeSourceSuite('Kafka', async () => {
    const { brokers, createTopic } = await sharedKafka();
    const topic = uniqueName('source');
    const groupId = uniqueName('group');
    await createTopic(topic, { partitions: 2 });
    const make = (topics: readonly string[]) =>
      createKafkaSource({ brokers, topics, groupId, clock, log: silentLog });
    const producer = await produceTo(brokers);
    return {
      topic,
      makeSource: () => make([topic]),
      makeLost: () => make([topic, `${topic}-nowhere`]),
      append: (partition, records) => producer.send(topic, partition, records),
      close: () => producer.close(),
    };
  });
});
