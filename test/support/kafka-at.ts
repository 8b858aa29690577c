import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brokerConfig, type BrokerPlan } from './servers/kafka-config.ts';
import { ensureKafkaJars } from './servers/kafka-jars.ts';
import {
  createKafkaTools,
  createOffsetsTopic,
  FAST_START,
  type KafkaTools,
  runJava,
  withAdmin,
} from './servers/kafka-tools.ts';
import { freePort, privateDir, startChild } from './servers/process.ts';

export interface KafkaAt extends KafkaTools {
  readonly address: string;
  kill(): Promise<void>;
}

/** A fresh cluster of one broker at a port of one's choice: two in turn are two clusters behind one address. */
export async function startKafkaAt(port: number): Promise<KafkaAt> {
  const classPath = await ensureKafkaJars('4.3.1');
  const plan: BrokerPlan = {
    id: 1,
    dir: privateDir('kafka-at'),
    port,
    controllerPort: await freePort(),
    saslPort: undefined,
  };
  const file = join(plan.dir, 'server.properties');
  writeFileSync(
    file,
    brokerConfig({ brokers: [plan], zookeeper: undefined, saslUsers: {}, settings: {} }, plan),
  );
  const clusterId = randomBytes(16).toString('base64url');
  await runJava('4.3.1', ['kafka.tools.StorageTool', 'format', `--cluster-id=${clusterId}`, '-c', file]);
  const child = startChild({
    name: 'kafka-at',
    command: 'java',
    args: ['-Xmx384m', '-Xms128m', ...FAST_START, '-cp', classPath, 'kafka.Kafka', file],
    cwd: plan.dir,
    logDir: plan.dir,
  });
  const address = `127.0.0.1:${port}`;
  const isUp = async (): Promise<boolean> => {
    const { controller, brokers } = await withAdmin([address], (admin) => admin.describeCluster());
    return controller !== null && controller >= 0 && brokers.length === 1;
  };
  await child.waitUntil(isUp, { what: `Kafka at ${address}`, timeoutMs: 60_000, everyMs: 100 });
  await createOffsetsTopic([address]);
  return { address, ...createKafkaTools([address]), kill: () => child.kill() };
}
