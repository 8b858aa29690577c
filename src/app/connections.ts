import {
  connectRedis,
  connectRedisForWorker,
  describeRedis,
  isUsable,
  type RedisClient,
  waitForRedis,
} from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import { reasonOf } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';
import { connectFollower } from './connect-follower.ts';

/** The connections of a process; one per way of using Redis. */
export interface Connections {
  /** The queue's Redis with deadlines: enqueueing, scripts, marks. */
  readonly queue: RedisClient;
  /** The queue's Redis as BullMQ's workers need it: without deadlines. */
  readonly blocking: RedisClient;
  /** The cache's Redis with deadlines. */
  readonly cache: RedisClient;
  /** The cache's Redis for the follower of the invalidation log, which blocks it. Not waited for. */
  readonly follower: RedisClient;
  /** Resolves when all can be used; says every few seconds which cannot, and why. Rejects when the signal fires. */
  ready(signal: AbortSignal): Promise<void>;
  /** Names of those that cannot be used now. */
  missing(): string[];
  close(): void;
}

const CONNECT_TIMEOUT_MS = 5_000;
const MAX_WAIT_MS = 10_000;

export function openConnections(config: Config, instance: string, clock: Clock, log: Log): Connections {
  const { url, cache, commandTimeoutMs } = config.redis;
  const open = (connect: typeof connectRedis, to: string, role: string): RedisClient =>
    connect({
      url: to,
      name: `cachewright-${role}-${instance}`,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      commandTimeoutMs,
      onError: (reason) => log.debug({ role, reason }, 'Redis connection'),
    });
  let isClosing = false;
  /** Says once that a Redis is lost, and once that it is back. */
  const tellChanges = (redis: RedisClient, what: string): void => {
    let isUp: boolean | undefined; // undefined: it never was
    redis.on('ready', () => {
      if (isUp === false) log.info({}, `${what} is back`);
      isUp = true;
    });
    // Each attempt to get it back that fails closes a connection too.
    redis.on('close', () => {
      if (isUp !== true || isClosing) return;
      isUp = false;
      log.warn({}, `lost ${what}; everything waits until it is back`);
    });
  };
  const queue = open(connectRedis, url, 'queue');
  const blocking = open(connectRedisForWorker, url, 'worker');
  const isOneRedis = cache.url === url;
  const cacheRedis = open(connectRedis, cache.url, 'cache');
  const follower = open(connectFollower, cache.url, 'follower');
  const named = [
    { redis: queue, what: `${isOneRedis ? '' : 'queue '}${describeRedis(url)}` },
    ...(isOneRedis ? [] : [{ redis: cacheRedis, what: `cache ${describeRedis(cache.url)}` }]),
  ];
  for (const { redis, what } of named) tellChanges(redis, what);
  return {
    queue,
    blocking,
    cache: cacheRedis,
    follower,
    async ready(signal) {
      await Promise.all(named.map(({ redis, what }) => waitUntilReady(redis, what, clock, log, signal)));
      await Promise.all(
        [blocking, cacheRedis].map((redis) => waitUntilReady(redis, 'Redis', clock, log, signal)),
      );
    },
    missing: () => named.filter(({ redis }) => !isUsable(redis)).map(({ what }) => what),
    close() {
      isClosing = true;
      for (const redis of [queue, blocking, cacheRedis, follower]) redis.disconnect();
    },
  };
}

async function waitUntilReady(
  redis: RedisClient,
  what: string,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (let waitMs = 1_000; ; waitMs = Math.min(MAX_WAIT_MS, waitMs * 2)) {
    signal.throwIfAborted();
    try {
      await waitForRedis(redis, { what, timeoutMs: waitMs });
      return;
    } catch (error) {
      log.warn({ reason: reasonOf(error) }, `waiting for ${what}`);
      await clock.sleep(100, signal);
    }
  }
}
