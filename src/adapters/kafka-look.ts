import { randomUUID } from 'node:crypto';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import {
  createKafkaClient,
  describeBrokers,
  type KafkaConnectionOptions,
  kafkaFault,
} from './kafka-connection.ts';

/** A broker as the cluster knows it. */
export interface SeenBroker {
  readonly id: number;
  /** `host:port` */
  readonly address: string;
  /** As far as it tells: brokers up to 3.9 name the protocol they speak among each other, later ones none. */
  readonly version: string;
}

export interface SeenTopic {
  readonly partitions: number;
  /** Replicas of the partition that has fewest. */
  readonly replicas: number;
  /** Partitions with fewer replicas in sync than there should be. */
  readonly underReplicated: number;
  readonly leaderless: number;
}

export interface SeenMessage {
  /** `topic-partition@offset` */
  readonly id: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/** Looks at a cluster, for a person: nothing is written and no group of anybody is touched. */
export interface KafkaLook {
  /** @throws `E_UNREACHABLE`, `E_KAFKA_AUTH` */
  cluster(): Promise<{ readonly clusterId: string; readonly brokers: readonly SeenBroker[] }>;
  /** The topics among these that exist. */
  topics(names: readonly string[]): Promise<ReadonlyMap<string, SeenTopic>>;
  /** One of the oldest messages; undefined when none came in time. @throws `E_TOPIC_MISSING` */
  oldest(topic: string, timeoutMs: number): Promise<SeenMessage | undefined>;
  close(): Promise<void>;
}

/** A person waits for the answer: one more try is enough. */
const RETRIES = 1;

export function createKafkaLook(options: KafkaConnectionOptions): KafkaLook {
  const kafka = createKafkaClient(options);
  const admin = kafka.admin({ retry: { retries: RETRIES } });
  let connected: Promise<void> | undefined;
  const ask = async <T>(work: () => Promise<T>, topics = ''): Promise<T> => {
    try {
      connected ??= admin.connect();
      await connected;
      return await work();
    } catch (error) {
      throw kafkaFault(error, { brokers: describeBrokers(options), topics });
    }
  };
  return {
    cluster: () => ask(() => lookAtCluster(admin)),
    topics: (names) => ask(() => lookAtTopics(admin, names), names.join(', ')),
    oldest: (topic, timeoutMs) => ask(() => readOldest(kafka, admin, topic, timeoutMs), topic),
    async close() {
      if (connected !== undefined) await admin.disconnect();
    },
  };
}

async function lookAtCluster(admin: Admin): ReturnType<KafkaLook['cluster']> {
  const { clusterId, brokers } = await admin.describeCluster();
  const seen = brokers.map(async ({ nodeId, host, port }) => ({
    id: nodeId,
    address: `${host}:${port}`,
    version: await versionOf(admin, nodeId),
  }));
  return { clusterId, brokers: await Promise.all(seen) };
}

async function versionOf(admin: Admin, broker: number): Promise<string> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.BROKER, name: String(broker) }],
    });
    const entries = resources[0]?.configEntries ?? [];
    const protocol = entries.find(({ configName }) => configName === 'inter.broker.protocol.version');
    return protocol === undefined ? '4.0 or newer' : protocol.configValue;
  } catch {
    return 'not told: no right to describe the broker';
  }
}

async function lookAtTopics(admin: Admin, names: readonly string[]): Promise<ReadonlyMap<string, SeenTopic>> {
  // Asked for first: metadata of a topic that is not there would create it on some clusters.
  const existing = new Set(await admin.listTopics());
  const asked = names.filter((name) => existing.has(name));
  if (asked.length === 0) return new Map();
  const { topics } = await admin.fetchTopicMetadata({ topics: asked });
  return new Map(
    topics.map(({ name, partitions }) => [
      name,
      {
        partitions: partitions.length,
        replicas: Math.min(...partitions.map(({ replicas }) => replicas.length)),
        underReplicated: partitions.filter(({ replicas, isr }) => isr.length < replicas.length).length,
        leaderless: partitions.filter(({ leader }) => leader < 0).length,
      },
    ]),
  );
}

async function readOldest(
  kafka: Kafka,
  admin: Admin,
  topic: string,
  timeoutMs: number,
): Promise<SeenMessage | undefined> {
  if (!(await admin.listTopics()).includes(topic)) {
    throw Object.assign(new Error(`there is no topic ${topic}`), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
  }
  const bounds = await admin.fetchTopicOffsets(topic);
  if (bounds.every(({ low, high }) => low === high)) return undefined;
  // kafkajs reads with a group only; this one is nobody's, commits nothing and is removed again.
  const groupId = `cachewright-look-${randomUUID()}`;
  const consumer = kafka.consumer({ groupId });
  const { promise, resolve } = Promise.withResolvers<SeenMessage | undefined>();
  const timer = setTimeout(resolve, timeoutMs, undefined);
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message: { offset, key, value } }) =>
        resolve({ id: `${topic}-${partition}@${offset}`, key, value }),
    });
    return await promise;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined);
  }
}
