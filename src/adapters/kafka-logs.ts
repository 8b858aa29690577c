import type { LogBounds } from '../core/ports.ts';
import {
  createKafkaClient,
  describeBrokers,
  type KafkaConnectionOptions,
  kafkaFault,
} from './kafka-connection.ts';
import { createTopicIds } from './kafka-topic-id.ts';

/** Asks a cluster for its logs, as a whole topic each; joins no group. */
export interface KafkaLogs {
  clusterId(): Promise<string>;
  /** The log of every partition. @throws `E_TOPIC_MISSING`, `E_UNREACHABLE`, `E_KAFKA_AUTH` */
  bounds(topic: string): Promise<ReadonlyMap<number, LogBounds>>;
  /** Numbers of a topic's partitions. @throws as `bounds` */
  partitions(topic: string): Promise<readonly number[]>;
  /** By partition, the first offset whose message has this time or a later one; the log's end when there is none. */
  since(topic: string, timestampMs: number): Promise<ReadonlyMap<number, string>>;
  /** Removes a group that nobody is in any more; its own end removes it too, only later. */
  forgetGroup(groupId: string): Promise<void>;
  close(): Promise<void>;
}

const RETRIES = 3;

export function createKafkaLogs(options: KafkaConnectionOptions): KafkaLogs {
  const kafka = createKafkaClient(options);
  const admin = kafka.admin({ retry: { retries: RETRIES } });
  const topicIds = createTopicIds(kafka);
  let connected: Promise<void> | undefined;
  const ask = async <T>(topic: string, work: () => Promise<T>): Promise<T> => {
    try {
      connected ??= admin.connect();
      await connected;
      return await work();
    } catch (error) {
      throw kafkaFault(error, { brokers: describeBrokers(options), topics: topic });
    }
  };
  // Asked for first: metadata of a topic that is not there would create it on some clusters.
  const requireTopic = async (topic: string): Promise<void> => {
    if (!(await admin.listTopics()).includes(topic))
      throw Object.assign(new Error(`there is no topic ${topic}`), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
  };
  return {
    clusterId: () => ask('', async () => (await admin.describeCluster()).clusterId),
    bounds: (topic) =>
      ask(topic, async () => {
        await requireTopic(topic);
        const [ids, found] = await Promise.all([topicIds.fetch([topic]), admin.fetchTopicOffsets(topic)]);
        const logId = ids.get(topic) ?? '';
        return new Map(found.map(({ partition, low, high }) => [partition, { low, high, logId }]));
      }),
    partitions: (topic) =>
      ask(topic, async () => {
        await requireTopic(topic);
        const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
        return topics.flatMap(({ partitions }) => partitions.map(({ partitionId }) => partitionId));
      }),
    since: (topic, timestampMs) =>
      ask(topic, async () => {
        const found = await admin.fetchTopicOffsetsByTimestamp(topic, timestampMs);
        return new Map(found.map(({ partition, offset }) => [partition, offset]));
      }),
    forgetGroup: async (groupId) => void (await ask('', () => admin.deleteGroups([groupId]))),
    async close() {
      if (connected !== undefined) await admin.disconnect().catch(() => undefined);
      await topicIds.close();
    },
  };
}
