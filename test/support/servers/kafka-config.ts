/** Where one broker listens. The controller port is unused with ZooKeeper, the SASL port without SASL users. */
export interface BrokerPlan {
  /** Starts at 1. */
  readonly id: number;
  readonly dir: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly saslPort: number | undefined;
}

/** User name → password. Every user can log in with PLAIN and with SCRAM-SHA-256. */
export type SaslUsers = Readonly<Record<string, string>>;

/** Cluster-wide facts a broker's configuration depends on. */
export interface ClusterPlan {
  readonly brokers: readonly BrokerPlan[];
  /** `host:port/chroot`; undefined in KRaft mode. */
  readonly zookeeper: string | undefined;
  readonly saslUsers: SaslUsers;
  /** Broker settings that win over ours. */
  readonly settings: Readonly<Record<string, string>>;
}

const HOST = '127.0.0.1';

/** server.properties of one broker. */
export function brokerConfig(cluster: ClusterPlan, broker: BrokerPlan): string {
  const replicas = String(cluster.brokers.length);
  return properties({
    'log.dirs': `${broker.dir}/data`,
    'inter.broker.listener.name': 'PLAINTEXT',
    'num.network.threads': '2',
    'num.io.threads': '4',
    'num.partitions': '1',
    'auto.create.topics.enable': 'false',
    'group.initial.rebalance.delay.ms': '0',
    'offsets.topic.num.partitions': '10',
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': '1',
    'log.cleaner.dedupe.buffer.size': '16777216',
    'replica.lag.time.max.ms': '5000',
    'controlled.shutdown.enable': String(cluster.brokers.length > 1),
    ...listeners(cluster, broker),
    ...(cluster.zookeeper === undefined ? kraft(cluster, broker) : zookeeper(cluster.zookeeper, broker)),
    ...sasl(cluster.saslUsers),
    ...cluster.settings,
  });
}

/** zoo.cfg of the one ZooKeeper server. Short ticks: a killed broker's session must be gone within seconds. */
export function zookeeperConfig(dir: string, port: number): string {
  return properties({
    dataDir: `${dir}/data`,
    clientPort: String(port),
    clientPortAddress: HOST,
    tickTime: '500',
    maxClientCnxns: '0',
    'admin.enableServer': 'false',
    '4lw.commands.whitelist': 'ruok,dump',
  });
}

function listeners(cluster: ClusterPlan, broker: BrokerPlan): Record<string, string> {
  const open = [`PLAINTEXT://${HOST}:${broker.port}`];
  if (broker.saslPort !== undefined) open.push(`SASL://${HOST}:${broker.saslPort}`);
  const controller = cluster.zookeeper === undefined ? [`CONTROLLER://${HOST}:${broker.controllerPort}`] : [];
  return {
    listeners: [...open, ...controller].join(','),
    'advertised.listeners': open.join(','),
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT',
  };
}

function kraft(cluster: ClusterPlan, broker: BrokerPlan): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': String(broker.id),
    'controller.quorum.voters': cluster.brokers
      .map((each) => `${each.id}@${HOST}:${each.controllerPort}`)
      .join(','),
    'controller.listener.names': 'CONTROLLER',
    'broker.session.timeout.ms': '6000',
    'broker.heartbeat.interval.ms': '1000',
  };
}

function zookeeper(connect: string, broker: BrokerPlan): Record<string, string> {
  return {
    'broker.id': String(broker.id),
    'zookeeper.connect': connect,
    'zookeeper.session.timeout.ms': '4000',
  };
}

function sasl(users: SaslUsers): Record<string, string> {
  const entries = Object.entries(users);
  if (entries.length === 0) return {};
  const plain = entries.map(([name, password]) => `user_${name}="${password}"`).join(' ');
  const modules = 'org.apache.kafka.common.security';
  return {
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256',
    'listener.name.sasl.plain.sasl.jaas.config': `${modules}.plain.PlainLoginModule required ${plain};`,
    'listener.name.sasl.scram-sha-256.sasl.jaas.config': `${modules}.scram.ScramLoginModule required;`,
  };
}

function properties(entries: Readonly<Record<string, string>>): string {
  return `${Object.entries(entries)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')}\n`;
}
