import type { CreateClient, ZookeeperClient } from 'node-zookeeper-client';
import { fail, reasonOf } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';

/** Which of a broker's listeners fits the client's settings. */
export type ListenerProtocol = 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL';

export interface ZookeeperOptions {
  /** `host:port,host:port/chroot` */
  readonly connect: string;
  readonly protocol: ListenerProtocol;
  /** Used when ZooKeeper does not answer and never did. */
  readonly fallback?: readonly string[];
  /** How long to wait for ZooKeeper, milliseconds. @defaultValue 5_000 */
  readonly timeoutMs?: number;
  readonly log: Log;
}

const IDS = '/brokers/ids';

/**
 * Discovers brokers from ZooKeeper, for clusters of Kafka up to 3.9. The returned function is asked at start and when all
 * known brokers are gone (kafkajs asks whenever it needs a seed); no session is kept in between. When ZooKeeper is down,
 * the brokers it named last are used: they may well be up.
 */
export function createZookeeperDiscovery(options: ZookeeperOptions): () => Promise<string[]> {
  const { connect, log } = options;
  let known: readonly string[] = options.fallback ?? [];
  return async () => {
    try {
      known = await discover(options);
      log.debug({ zookeeper: connect, brokers: known }, 'brokers discovered');
    } catch (error) {
      if (known.length === 0) throw error;
      log.warn(
        { zookeeper: connect, brokers: known, err: reasonOf(error) },
        'ZooKeeper does not answer; using the brokers known last',
      );
    }
    return [...known];
  };
}

async function discover({ connect, protocol, timeoutMs = 5_000 }: ZookeeperOptions): Promise<string[]> {
  const client = await open(connect, timeoutMs);
  try {
    const ids = await within(children(client, IDS), timeoutMs, connect);
    const brokers = await within(
      Promise.all(ids.map(async (id) => addressOf(await data(client, `${IDS}/${id}`), protocol))),
      timeoutMs,
      connect,
    );
    const found = brokers.filter((address) => address !== undefined);
    if (found.length === 0) {
      throw fail('E_UNREACHABLE', {
        what: `Kafka by ZooKeeper ${connect}`,
        reason: `no broker with a ${protocol} listener is registered under ${IDS}`,
      });
    }
    return found;
  } finally {
    client.close();
  }
}

/**
 * The address of one broker.
 *
 * @param json what the broker registered, e.g. `{"endpoints":["PLAINTEXT://10.0.0.1:9092"],"listener_security_protocol_map":{…},"host":"10.0.0.1","port":9092}`
 */
export function addressOf(json: string, protocol: ListenerProtocol): string | undefined {
  const broker: unknown = JSON.parse(json);
  if (typeof broker !== 'object' || broker === null) return undefined;
  const endpoints =
    'endpoints' in broker && Array.isArray(broker.endpoints) ? broker.endpoints.map(String) : [];
  const protocols = new Map(
    'listener_security_protocol_map' in broker && typeof broker.listener_security_protocol_map === 'object'
      ? Object.entries(broker.listener_security_protocol_map ?? {}).map(
          ([name, value]) => [name, String(value)] as const,
        )
      : [],
  );
  for (const endpoint of endpoints) {
    const [listener = '', address = ''] = endpoint.split('://');
    if (address !== '' && (protocols.get(listener) ?? listener) === protocol) return address;
  }
  const hasOldForm =
    endpoints.length === 0 && protocol === 'PLAINTEXT' && 'host' in broker && 'port' in broker;
  return hasOldForm ? `${String(broker.host)}:${String(broker.port)}` : undefined;
}

async function open(connect: string, timeoutMs: number): Promise<ZookeeperClient> {
  const createClient = await load();
  const client = createClient(connect, { sessionTimeout: timeoutMs * 2, spinDelay: 250, retries: 0 });
  const connected = new Promise<void>((resolve) => client.once('connected', resolve));
  client.connect();
  try {
    await within(connected, timeoutMs, connect);
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}

async function load(): Promise<CreateClient> {
  try {
    return (await import('node-zookeeper-client')).createClient;
  } catch (error) {
    const reason =
      'kafka.zookeeper needs the optional package node-zookeeper-client: npm install node-zookeeper-client';
    throw fail('E_USAGE', { reason }, { cause: error });
  }
}

function children(client: ZookeeperClient, path: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    client.getChildren(path, (error, names) =>
      error === null || error === undefined ? resolve(names) : reject(error),
    );
  });
}

function data(client: ZookeeperClient, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    client.getData(path, (error, raw) =>
      error === null || error === undefined ? resolve(raw?.toString('utf8') ?? '{}') : reject(error),
    );
  });
}

async function within<T>(work: Promise<T>, ms: number, connect: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(fail('E_UNREACHABLE', { what: `ZooKeeper ${connect}`, reason: `no answer within ${ms} ms` })),
      ms,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
