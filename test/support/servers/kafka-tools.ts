import { spawn } from 'node:child_process';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { bound } from './bound.ts';
import { ensureKafkaJars, type KafkaVersion } from './kafka-jars.ts';
import { waitFor } from './process.ts';

export interface TopicShape {
  /** @defaultValue 1 */
  readonly partitions?: number;
  /** @defaultValue 1 */
  readonly replication?: number;
  /** Topic settings, e.g. `{ 'retention.ms': '1000' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What tests ask of a cluster besides starting and stopping it. */
export interface KafkaTools {
  /** Returns when every partition has a leader and all its replicas are in sync. */
  createTopic(name: string, shape?: TopicShape): Promise<void>;
  deleteTopic(name: string): Promise<void>;
  /** Kafka's own ConsoleProducer with the full broker list: one message a line. Extra arguments go to the tool. */
  consoleProduce(topic: string, lines: readonly string[], args?: readonly string[]): Promise<void>;
  /**
   * Kafka's own ConsumerGroupCommand, as an operator would use it. The group must have no members.
   *
   * @param spec e.g. `['--to-earliest']` or `['--to-offset', '5']`
   */
  resetOffsets(group: string, topic: string, spec: readonly string[]): Promise<string>;
}

/** The one tool whose class moved between the two versions. */
const CONSOLE_PRODUCER: Readonly<Record<KafkaVersion, string>> = {
  '4.3.1': 'org.apache.kafka.tools.ConsoleProducer',
  '3.9.2': 'kafka.tools.ConsoleProducer',
};

/** Tools for a running cluster, of the version the cluster runs. */
export function createKafkaTools(brokers: readonly string[], version: KafkaVersion = '4.3.1'): KafkaTools {
  const bootstrap = ['--bootstrap-server', brokers.join(',')];
  return {
    createTopic: (name, shape = {}) => withAdmin(brokers, (admin) => createTopic(admin, name, shape)),
    deleteTopic: (name) => withAdmin(brokers, (admin) => deleteTopic(admin, name)),
    async consoleProduce(topic, lines, args = []) {
      const input = lines.map((line) => `${line}\n`).join('');
      await runJava(version, [CONSOLE_PRODUCER[version], ...bootstrap, '--topic', topic, ...args], input);
    },
    resetOffsets: (group, topic, spec) =>
      runJava(version, [
        'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand',
        ...bootstrap,
        '--group',
        group,
        '--topic',
        topic,
        '--reset-offsets',
        ...spec,
        '--execute',
      ]),
  };
}

/** Runs a Kafka tool to its end and returns what it printed. */
export async function runJava(version: KafkaVersion, args: readonly string[], input = ''): Promise<string> {
  const classPath = await ensureKafkaJars(version);
  return new Promise((resolve, reject) => {
    const child = spawn(...bound('java', [...FAST_START, '-Xmx256m', '-cp', classPath, ...args]));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => void (output += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => void (output += part));
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      // The reset tool reports a refused request as text and ends with 0.
      if (code === 0 && !/^Error[: ]/m.test(output)) resolve(output);
      else reject(new Error(`${args[0]} ended with ${code ?? signal}:\n${output}`));
    });
    child.stdin.on('error', () => undefined); // a tool that ended early; its exit code says why
    child.stdin.end(input);
  });
}

/** JVM flags that trade peak speed for a start in half the time and little memory. */
export const FAST_START = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'] as const;

/** Runs `work` with a connected admin client. */
export async function withAdmin<T>(
  brokers: readonly string[],
  work: (admin: Admin) => Promise<T>,
): Promise<T> {
  const kafka = new Kafka({
    clientId: 'cachewright-test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 2 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function createTopic(admin: Admin, name: string, shape: TopicShape): Promise<void> {
  const { partitions = 1, replication = 1, settings = {} } = shape;
  const configEntries = Object.entries(settings).map(([key, value]) => ({ name: key, value }));
  await admin.createTopics({
    waitForLeaders: false,
    topics: [{ topic: name, numPartitions: partitions, replicationFactor: replication, configEntries }],
  });
  await waitForReplicas(admin, name, partitions, replication);
}

/**
 * Has Kafka create the topic it keeps committed offsets in. It would do so for the first group; with a broker already
 * killed by then, it could not place the replicas, and no group would ever find its coordinator.
 */
export function createOffsetsTopic(brokers: readonly string[]): Promise<void> {
  return withAdmin(brokers, async (admin) => {
    await waitFor(() => admin.fetchOffsets({ groupId: 'warm-up' }), {
      what: 'a group coordinator',
      timeoutMs: 30_000,
    });
    await waitForReplicas(admin, '__consumer_offsets', 1, brokers.length);
  });
}

async function waitForReplicas(
  admin: Admin,
  topic: string,
  partitions: number,
  replicas: number,
): Promise<void> {
  await waitFor(
    async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const found = topics[0]?.partitions ?? [];
      return (
        found.length >= partitions && found.every(({ leader, isr }) => leader >= 0 && isr.length === replicas)
      );
    },
    { what: `topic ${topic} to have leaders and replicas`, timeoutMs: 30_000 },
  );
}

async function deleteTopic(admin: Admin, name: string): Promise<void> {
  await admin.deleteTopics({ topics: [name] });
  await waitFor(async () => !(await admin.listTopics()).includes(name), {
    what: `topic ${name} to be gone`,
    timeoutMs: 30_000,
  });
}
