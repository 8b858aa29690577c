import type { Admin, Kafka } from 'kafkajs';
import { fail, reasonOf } from '../core/errors.ts';
import type { LogBounds, Log } from '../core/ports.ts';
import { describeBrokers, type KafkaConnectionOptions, refusalOf } from './kafka-connection.ts';
import { createTopicIds } from './kafka-topic-id.ts';

/** What the source asks a cluster beside consuming. Answers are fresh; questions under way are shared. */
export interface KafkaInspector {
  /** Waits for the brokers, saying which; rejects with `E_KAFKA_AUTH`, or with the signal's reason. */
  connect(signal: AbortSignal): Promise<void>;
  /** Rejects with `E_TOPIC_MISSING` for the first topic that is not there. */
  requireTopics(topics: readonly string[]): Promise<void>;
  /** What names the cluster, and its logs: when either text changes, they are others. */
  identity(topics: readonly string[]): Promise<{ readonly clusterId: string; readonly topics: string }>;
  /** @param generation questions of different generations are never shared: a commit may lie between them */
  committed(topic: string, partition: number, generation: number): Promise<string | null>;
  bounds(topic: string, partition: number, generation: number): Promise<LogBounds>;
  close(): Promise<void>;
}

const WAIT_MS = { first: 500, max: 5_000 } as const;
/** A topic that was just created is not known to every broker at once. */
const TOPIC_LOOKS = 5;
const TOPIC_LOOK_MS = 300;

export interface InspectorOptions extends KafkaConnectionOptions {
  readonly groupId: string;
  readonly log: Log;
}

export function createKafkaInspector(kafka: Kafka, options: InspectorOptions): KafkaInspector {
  const { groupId, log } = options;
  const admin = kafka.admin({ retry: { retries: 3 } });
  const topicIds = createTopicIds(kafka);
  const shareCommits = sharing<Map<number, string>>();
  const shareLogs = sharing<Map<number, LogBounds>>();
  let isWarned = false;

  const offsets = (topic: string, generation: number) =>
    shareCommits(`${generation} ${topic}`, async () => {
      const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
      return new Map(found?.partitions.map(({ partition, offset }) => [partition, offset]));
    });
  const logs = (topic: string, generation: number) =>
    shareLogs(`${generation} ${topic}`, async () => {
      const [ids, found] = await Promise.all([topicIds.fetch([topic]), admin.fetchTopicOffsets(topic)]);
      const logId = ids.get(topic) ?? '';
      if (logId === '' && !isWarned) {
        isWarned = true;
        log.warn(
          { topic },
          'the brokers name no topic ids (Kafka before 2.8?): a topic made anew is only noticed when it is shorter than before',
        );
      }
      return new Map(found.map(({ partition, low, high }) => [partition, { low, high, logId }]));
    });

  return {
    connect: (signal) => waitForBrokers(admin, options, signal),
    requireTopics: (topics) => requireTopics(admin, topics),
    async committed(topic, partition, generation) {
      const offset = (await offsets(topic, generation)).get(partition) ?? '-1';
      return BigInt(offset) < 0n ? null : offset;
    },
    async bounds(topic, partition, generation) {
      const found = (await logs(topic, generation)).get(partition);
      if (found === undefined) throw fail('E_TOPIC_MISSING', { topic: `${topic}, partition ${partition}` });
      return found;
    },
    async identity(topics) {
      const [{ clusterId }, ids] = await Promise.all([admin.describeCluster(), topicIds.fetch(topics)]);
      return { clusterId, topics: topics.map((topic) => ids.get(topic) ?? '').join(' ') };
    },
    async close() {
      await Promise.all([admin.disconnect(), topicIds.close()]);
    },
  };
}

/** Joins calls of the same name to the one under way. */
function sharing<T>(): (name: string, ask: () => Promise<T>) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  return (name, ask) => {
    const known = running.get(name);
    if (known !== undefined) return known;
    const asked = ask().finally(() => running.delete(name));
    running.set(name, asked);
    return asked;
  };
}

async function waitForBrokers(admin: Admin, options: InspectorOptions, signal: AbortSignal): Promise<void> {
  for (let waitMs: number = WAIT_MS.first; ; waitMs = Math.min(WAIT_MS.max, waitMs * 2)) {
    signal.throwIfAborted();
    try {
      return await admin.connect();
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal !== undefined) throw refusal;
      options.log.warn(
        { brokers: describeBrokers(options), err: reasonOf(error) },
        `waiting for Kafka at ${describeBrokers(options)}`,
      );
      await pause(waitMs, signal);
    }
  }
}

async function requireTopics(admin: Admin, topics: readonly string[]): Promise<void> {
  for (let look = 1; ; look += 1) {
    const existing = new Set(await admin.listTopics());
    const missing = topics.find((topic) => !existing.has(topic));
    if (missing === undefined) return;
    if (look === TOPIC_LOOKS) throw fail('E_TOPIC_MISSING', { topic: missing });
    await pause(TOPIC_LOOK_MS);
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
