import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { aConfig, type Books, openBooks, type TestConfig } from '../support/app.ts';
import type { KafkaCluster } from '../support/servers/kafka.ts';
import type { KafkaTools } from '../support/servers/kafka-tools.ts';
import { privateDir } from '../support/servers/process.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { type Instance, type InstanceOptions, startInstance } from './fleet.ts';
import type { Plant } from './plants.ts';
import type { Random } from './random.ts';
import { startTruth, type Truth } from './truth.ts';

/** Longer than any run, milliseconds: nothing but the invalidation log makes a local tier right. */
const LOCAL_TTL_MS = 3_600_000;
export const PARTITIONS = 4;

/** The Kafka of a run: brokers and tools, and, where brokers are to die, the cluster itself. */
export interface ChaosKafka extends KafkaTools {
  readonly brokers: readonly string[];
}

/** Everything of one run: its own topic, Redis, source, audit file and service processes. */
export interface World {
  readonly seed: number;
  readonly random: Random;
  readonly topic: string;
  readonly groupId: string;
  readonly kafka: ChaosKafka;
  /** @throws when the run's Kafka is not one whose brokers may be killed */
  cluster(): KafkaCluster;
  readonly redis: RedisServer;
  /** Between the services and Redis; only where the fault asked for it. */
  readonly redisProxy: Proxy | undefined;
  /** The harness's own way to Redis, past every proxy. */
  readonly look: Redis;
  readonly truth: Truth;
  readonly config: TestConfig;
  readonly books: Books;
  /** All that were ever started, dead ones too. */
  readonly instances: readonly Instance[];
  alive(): Instance[];
  start(options?: InstanceOptions): Promise<Instance>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly seed: number;
  readonly random: Random;
  readonly kafka: ChaosKafka;
  readonly cluster: KafkaCluster | undefined;
  readonly topic: string;
  readonly behindProxy: 'all' | 'first' | undefined;
  readonly auditOnSmallDisk: boolean;
  readonly plant: Plant | undefined;
}

export async function openWorld(options: WorldOptions): Promise<World> {
  const { seed, random, kafka, topic, plant } = options;
  const replication = kafka.brokers.length;
  const [redis, truth] = await Promise.all([
    startRedis({ appendonly: true, config: ['auto-aof-rewrite-percentage 0'] }),
    startTruth(),
    kafka.createTopic(topic, {
      partitions: PARTITIONS,
      replication,
      settings: { 'min.insync.replicas': String(Math.min(2, replication)) },
    }),
  ]);
  const redisProxy = options.behindProxy === undefined ? undefined : await startProxy(redis.port);
  const disk = options.auditOnSmallDisk ? mountSmallDisk() : undefined;
  const config = configOf(options, redis.url, truth, disk?.dir ?? privateDir('audit'));
  /** The configuration of the next instance. */
  const configNow = (): TestConfig => {
    const isBehind = options.behindProxy === 'all' || started === 0;
    if (redisProxy === undefined || !isBehind) return config;
    return { ...config, redis: { ...config.redis, url: `redis://127.0.0.1:${redisProxy.port}` } };
  };
  let started = 0;
  const books = openBooks(config);
  const look = new Redis(redis.url, { maxRetriesPerRequest: 1 });
  look.on('error', () => undefined);
  const instances: Instance[] = [];
  const alive = (): Instance[] => instances.filter((instance) => instance.end() === undefined);
  return {
    seed,
    random,
    topic,
    groupId: config.kafka?.groupId ?? '',
    kafka,
    cluster() {
      if (options.cluster === undefined) throw new Error('this fault needs a cluster of its own');
      return options.cluster;
    },
    redis,
    redisProxy,
    look,
    truth,
    config,
    books,
    instances,
    alive,
    async start(more = {}) {
      const own = configNow();
      started += 1;
      const instance = await startInstance(own, { plant, ...more });
      instances.push(instance);
      return instance;
    },
    async close() {
      for (const instance of alive()) {
        instance.signal('SIGCONT');
        instance.signal('SIGKILL');
      }
      await Promise.all(instances.map(({ ended }) => ended));
      look.disconnect();
      await books.close();
      await Promise.all([redisProxy?.stop(), truth.stop()]);
      await redis.kill();
      disk?.unmount();
    },
  };
}

/** A tmpfs that a few files fill. Needs root. */
function mountSmallDisk(): { readonly dir: string; unmount(): void } {
  const dir = privateDir('small-disk');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', dir]);
  return { dir, unmount: () => void execFileSync('umount', ['--lazy', dir]) };
}

/** Attempts without end: in these runs no message may give up, whatever a source does meanwhile. */
const retry = { attempts: 1_000, initialMs: 100, factor: 2, maxMs: '1s', horizonMs: '1h' } as const;
const version = { from: 'record', field: 'version', kind: 'counter' } as const;

function configOf(
  { kafka, topic }: WorldOptions,
  redisUrl: string,
  truth: Truth,
  auditDir: string,
): TestConfig {
  return aConfig(redisUrl, {
    kafka: { brokers: [...kafka.brokers], topics: [topic], sessionTimeoutMs: '6s' },
    audit: { url: `sqlite:${join(auditDir, 'audit.db')}` },
    local: { ttlMs: LOCAL_TTL_MS },
    // Small chunks, so that a run has several executions under way at any time.
    queue: { maxChunkMessages: 20 },
    worker: { shutdownGraceMs: '5s' },
    log: { level: 'info', messages: 'none' },
    services: {
      stockService: { source: { type: 'inline' }, key: 'stock_{id}', version, retry },
      shopInfoService: {
        source: {
          type: 'http',
          url: `${truth.url}/shops/{id}`,
          batch: { url: `${truth.url}/shops?ids={ids}`, items: '/data' },
          timeoutMs: '1s',
          breaker: { failures: 5, halfOpenAfterMs: '1s' },
        },
        key: 'shop_info_{id}',
        version,
        retry,
      },
    },
  });
}
