import { Redis } from 'ioredis';
import { patchIdleKafka } from '../../src/adapters/kafka-idle-patch.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { type RedisServer, startRedis, startRedisCluster } from '../support/servers/redis.ts';
import { childPid } from './cpu.ts';

export type Mode = 'quick' | 'default' | 'full';

/** A Redis of one trial, and a client to look into it. */
export interface BenchRedis extends RedisServer {
  readonly client: Redis;
  readonly pid: number;
  /** Of a cluster: the other masters. */
  readonly morePids?: readonly number[];
}

/** What every scenario stands on: one broker for the whole benchmark, a fresh Redis for every trial. */
export interface Lab {
  readonly mode: Mode;
  readonly runs: number;
  /** The value for the mode of this run. */
  pick<T>(byMode: Readonly<Record<Mode, T>>): T;
  kafka(): Promise<KafkaCluster & { readonly pid: number }>;
  redis(): Promise<BenchRedis>;
  /** A name nobody has used yet, for a topic or a group. */
  fresh(prefix: string): string;
  /** Progress, on stderr. */
  say(text: string): void;
  close(): Promise<void>;
}

/** As the queue's Redis is to be run: append-only file, synced every second. Every subject gets the same. */
const REDIS = { appendonly: true } as const;

export function createLab(mode: Mode, runs: number): Lab {
  let broker: Promise<KafkaCluster & { readonly pid: number }> | undefined;
  let names = 0;
  return {
    mode,
    runs,
    pick: (byMode) => byMode[mode],
    kafka: () => (broker ??= openKafka()),
    redis: openRedis,
    fresh: (prefix) => `${prefix}-${process.pid}-${(names += 1)}`,
    say,
    async close() {
      await (await broker)?.stop();
    },
  };
}

async function openKafka(): Promise<KafkaCluster & { readonly pid: number }> {
  patchIdleKafka();
  const kafka = await startKafka({ isForThroughput: true, heapMb: 512 });
  return { ...kafka, pid: childPid('kafka.Kafka') };
}

async function openRedis(): Promise<BenchRedis> {
  const server = await startRedis(REDIS);
  const client = new Redis(server.url);
  const pid = await pidOf(client);
  return {
    ...server,
    client,
    pid,
    async stop() {
      client.disconnect();
      await server.kill();
    },
  };
}

/** A cluster of three masters in the place of one Redis; its client looks into the first of them. */
export async function openRedisCluster(): Promise<BenchRedis> {
  const cluster = await startRedisCluster(3, REDIS);
  const clients = cluster.nodes.map(({ url }) => new Redis(url));
  const pids = await Promise.all(clients.map(pidOf));
  const [[node, ...others], [client, ...rest], [pid, ...morePids]] = [cluster.nodes, clients, pids];
  if (node === undefined || client === undefined || pid === undefined) throw new Error('a cluster of none');
  for (const each of rest) each.disconnect();
  return {
    ...node,
    url: cluster.url,
    client,
    pid,
    morePids,
    async stop() {
      client.disconnect();
      await Promise.all([node, ...others].map((each) => each.kill()));
    },
  };
}

async function pidOf(client: Redis): Promise<number> {
  client.on('error', () => undefined);
  return Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
}

function say(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else process.stderr.write(`${text}\n`);
}
