import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  type BrokerPlan,
  brokerConfig,
  type ClusterPlan,
  type SaslUsers,
  zookeeperConfig,
} from './kafka-config.ts';
import { ensureKafkaJars } from './kafka-jars.ts';
import {
  createKafkaTools,
  createOffsetsTopic,
  FAST_START,
  type KafkaTools,
  runJava,
  withAdmin,
} from './kafka-tools.ts';
import { type Child, freePort, privateDir, startChild, waitFor } from './process.ts';

export interface KafkaOptions {
  /** @defaultValue 1 */
  readonly brokers?: 1 | 3;
  /** KRaft runs Kafka 4.3.1; ZooKeeper runs 3.9.2, the last line that can. @defaultValue 'kraft' */
  readonly mode?: 'kraft' | 'zookeeper';
  /** Heap of each broker. @defaultValue 384 */
  readonly heapMb?: number;
  /** Lets the JVM compile hot code fully: slower to start, needed for throughput. @defaultValue false */
  readonly isForThroughput?: boolean;
  /** Opens a second listener that wants PLAIN or SCRAM-SHA-256. Only with one KRaft broker. */
  readonly saslUsers?: SaslUsers;
  /** Broker settings that win over ours. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A private Kafka cluster on loopback. Brokers are counted from 0. */
export interface KafkaCluster extends KafkaTools {
  readonly brokers: readonly string[];
  /** The SASL listeners; empty without `saslUsers`. */
  readonly saslBrokers: readonly string[];
  /** `host:port/kafka` in ZooKeeper mode. */
  readonly zookeeper: string | undefined;
  /** SIGKILL. */
  killBroker(index: number): Promise<void>;
  /** SIGTERM: leaders move away first. */
  stopBroker(index: number): Promise<void>;
  /** Starts a stopped or killed broker with the data it had; returns when it takes part again. */
  startBroker(index: number): Promise<void>;
  /** SIGSTOP: connections stay open, nothing answers. */
  pauseBroker(index: number): void;
  resumeBroker(index: number): void;
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';

/** One broker is up in about five seconds. Returns when every broker is known to the cluster. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaCluster> {
  const { brokers: count = 1, mode = 'kraft', saslUsers = {} } = options;
  const hasSasl = Object.keys(saslUsers).length > 0;
  if (hasSasl && (count !== 1 || mode !== 'kraft')) throw new Error('saslUsers needs a single KRaft broker');
  const version = mode === 'kraft' ? '4.3.1' : '3.9.2';
  const classPath = await ensureKafkaJars(version);
  const plans = await Promise.all(
    Array.from({ length: count }, (_, index) => planBroker(index + 1, hasSasl)),
  );
  const zookeeper = mode === 'zookeeper' ? await startZookeeper(classPath) : undefined;
  const cluster: ClusterPlan = {
    brokers: plans,
    zookeeper: zookeeper?.connect,
    saslUsers,
    settings: options.settings ?? {},
  };
  const clusterId = randomBytes(16).toString('base64url');
  await Promise.all(plans.map((plan) => prepare(cluster, plan, clusterId)));

  const brokers = plans.map(({ port }) => `${HOST}:${port}`);
  const children = plans.map((plan) => spawnBroker(plan, classPath, options));
  const child = (index: number): Child => {
    const found = children[index];
    if (found === undefined) throw new RangeError(`there is no broker ${index}`);
    return found;
  };
  const waitForBroker = (index: number): Promise<true> =>
    child(index).waitUntil(() => takesPart(plans, index), {
      what: `Kafka broker ${index} to join`,
      timeoutMs: 60_000,
      everyMs: 100,
    });
  await Promise.all(plans.map((_, index) => waitForBroker(index)));
  await createOffsetsTopic(brokers);

  return {
    ...createKafkaTools(brokers, version),
    brokers,
    saslBrokers: plans.flatMap(({ saslPort }) => (saslPort === undefined ? [] : [`${HOST}:${saslPort}`])),
    zookeeper: cluster.zookeeper,
    killBroker: (index) => child(index).kill(),
    stopBroker: (index) => child(index).stop(20_000),
    async startBroker(index) {
      const plan = plans[index];
      if (plan === undefined || child(index).isRunning())
        throw new Error(`broker ${index} does not exist or still runs`);
      await zookeeper?.waitUntilForgotten(plan.id);
      children[index] = spawnBroker(plan, classPath, options);
      await waitForBroker(index);
    },
    pauseBroker: (index) => child(index).signal('SIGSTOP'),
    resumeBroker: (index) => child(index).signal('SIGCONT'),
    async stop() {
      // Nobody reads this cluster again: an orderly handover of leaders would only cost seconds.
      await Promise.all(children.map((each) => each.kill()));
      await zookeeper?.stop();
    },
  };
}

async function planBroker(id: number, hasSasl: boolean): Promise<BrokerPlan> {
  const [port, controllerPort, saslPort] = await Promise.all([
    freePort(),
    freePort(),
    hasSasl ? freePort() : undefined,
  ]);
  return { id, dir: privateDir(`kafka-${id}`), port, controllerPort, saslPort };
}

async function prepare(cluster: ClusterPlan, plan: BrokerPlan, clusterId: string): Promise<void> {
  const file = join(plan.dir, 'server.properties');
  writeFileSync(file, brokerConfig(cluster, plan));
  if (cluster.zookeeper !== undefined) return;
  const scram = Object.entries(cluster.saslUsers).flatMap(([name, password]) => [
    '--add-scram',
    `SCRAM-SHA-256=[name=${name},password=${password}]`,
  ]);
  await runJava('4.3.1', [
    'kafka.tools.StorageTool',
    'format',
    `--cluster-id=${clusterId}`,
    '-c',
    file,
    ...scram,
  ]);
}

function spawnBroker(plan: BrokerPlan, classPath: string, options: KafkaOptions): Child {
  const { heapMb = 384, isForThroughput = false } = options;
  const flags = isForThroughput ? ['-XX:+UseSerialGC'] : FAST_START;
  return startChild({
    name: `kafka-${plan.id}`,
    command: 'java',
    args: [
      `-Xmx${heapMb}m`,
      '-Xms128m',
      ...flags,
      '-cp',
      classPath,
      'kafka.Kafka',
      join(plan.dir, 'server.properties'),
    ],
    cwd: plan.dir,
    logDir: plan.dir,
  });
}

/** Whether a broker answers itself and knows a controller and itself as a member. */
async function takesPart(plans: readonly BrokerPlan[], index: number): Promise<true | undefined> {
  const plan = plans[index];
  if (plan === undefined) return undefined;
  const { brokers, controller } = await withAdmin([`${HOST}:${plan.port}`], (admin) =>
    admin.describeCluster(),
  );
  const isMember = brokers.some(({ nodeId }) => nodeId === plan.id);
  return controller !== null && controller >= 0 && isMember ? true : undefined;
}

interface Zookeeper {
  /** `host:port/kafka` */
  readonly connect: string;
  /** A killed broker's registration outlives it by its session; a broker that starts sooner dies of "node already exists". */
  waitUntilForgotten(brokerId: number): Promise<void>;
  stop(): Promise<void>;
}

async function startZookeeper(classPath: string): Promise<Zookeeper> {
  const [port, dir] = [await freePort(), privateDir('zookeeper')];
  mkdirSync(join(dir, 'data'));
  const file = join(dir, 'zoo.cfg');
  writeFileSync(file, zookeeperConfig(dir, port));
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
  const args = ['-Xmx128m', ...FAST_START, '-cp', classPath, main, file];
  const child = startChild({ name: 'zookeeper', command: 'java', args, cwd: dir, logDir: dir });
  await child.waitUntil(async () => (await fourLetterWord(port, 'ruok')) === 'imok', {
    what: 'ZooKeeper to answer',
    timeoutMs: 30_000,
  });
  return {
    connect: `${HOST}:${port}/kafka`,
    async waitUntilForgotten(brokerId) {
      const node = new RegExp(`/kafka/brokers/ids/${brokerId}$`, 'm');
      await waitFor(async () => !node.test(await fourLetterWord(port, 'dump')), {
        what: `ZooKeeper to forget broker ${brokerId}`,
        timeoutMs: 30_000,
        everyMs: 100,
      });
    },
    stop: () => child.kill(),
  };
}

function fourLetterWord(port: number, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, HOST, () => socket.write(word));
    // One that is just starting may take the connection and never answer.
    socket.setTimeout(2_000, () => socket.destroy(new Error('no reply within 2 s')));
    socket.setEncoding('utf8').on('data', (part: string) => void (text += part));
    socket.once('error', reject);
    socket.once('close', () => resolve(text));
  });
}
