/**
 * `cachewright/reader`: reads what Cachewright cached, in a process that does none of its work. It loads the drivers of
 * Redis, of the local tier and of sources: no Kafka, no queue, no HTTP server.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createKeyvLocalTier } from './adapters/keyv-local-tier.ts';
import { connectRedis, describeRedis, waitForRedis } from './adapters/redis-connection.ts';
import { createRedisInvalidationLog } from './adapters/redis-invalidation-log.ts';
import { createRedisLeases } from './adapters/redis-leases.ts';
import { createRedisTier } from './adapters/redis-tier.ts';
import { connectFollower } from './app/connect-follower.ts';
import { compileFollowRules, compileServices } from './app/services.ts';
import { environmentOfReferences } from './config/environment.ts';
import { resolveConfig } from './config/resolve.ts';
import type { Config, ConfigInput } from './config/schema.ts';
import { systemClock } from './core/clock.ts';
import { fail } from './core/errors.ts';
import type { Log } from './core/ports.ts';
import type { Service } from './core/service.ts';
import { type CachedRecord, cachedRecordOf, cachedRecordsOf } from './read/cached-record.ts';
import { createCoherentLocalTier } from './read/coherent-local-tier.ts';
import { createFollower } from './read/coherence.ts';
import { createGenerations } from './read/generations.ts';
import { createOwnWrites } from './read/own-writes.ts';
import { createReader } from './read/reader.ts';

export { CachewrightError, type ErrorCode } from './core/errors.ts';
export type { CachedRecord } from './read/cached-record.ts';

/** A service as the configuration of the writing side has it: what neither tier has is read from its source. */
export type SourceService = NonNullable<ConfigInput['services']>[string];

/** What is enough to read the tiers: what neither of them has is absent. */
export interface TierService {
  /** The cache key, `product_info_{id}`, as the writing side has it. */
  readonly key: string;
  readonly source?: undefined;
  readonly local?: {
    /** How long a record stays in the local tier, in milliseconds or as `'30s'`. @defaultValue `local.ttlMs` */
    readonly ttlMs?: number | string;
  };
  /** Stale answers, fail-safe and negative entries. */
  readonly read?: SourceService['read'];
}

export type ReadService = SourceService | TierService;

export interface CacheReaderOptions {
  readonly redis: {
    /** Redis of the cache: `redis.cache.url` of the writing side, or its `redis.url` when it has no other. */
    readonly url: string;
    /** How long a command may take, in milliseconds or as `'5s'`. @defaultValue 5 s */
    readonly commandTimeoutMs?: number | string;
  };
  /** Bounds and time to live of the local tier, which follows the invalidation log as every instance's does. */
  readonly local?: ConfigInput['local'];
  /** By service id. */
  readonly services: Readonly<Record<string, ReadService>>;
  /** Told why the connection fails, each time. It goes on trying; until then `get` answers from the local tier only. */
  readonly onError?: (reason: string) => void;
}

export interface CacheReader {
  /**
   * A record from the local tier of this reader, else from Redis, else from its source; undefined: there is none.
   *
   * @throws `E_NOT_FOUND` for an unknown service, `E_KEY_INVALID`, `E_REDIS_READ`, and what the source failed with
   */
  get(service: string, id: string | number | bigint): Promise<CachedRecord | undefined>;
  /** Many at once, in the order of the ids. @throws what the first of them failed with */
  getMany(service: string, ids: readonly (string | number | bigint)[]): Promise<(CachedRecord | undefined)[]>;
  /**
   * Whether nothing was heard of the changes of others for `local.blindMs`, or not yet: until they are heard of, the local
   * tier is not served as fresh, and absences are not remembered. A record says by itself whether it was read so.
   */
  isBlind(): boolean;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** What the follower has to say, `onError` says too. */
const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * Begins to connect; the first `get` waits for it, no longer than for a command.
 *
 * @throws `E_CONFIG_INVALID` with all problems. Of the environment only the secrets that sources name are looked at.
 */
export function createCacheReader(options: CacheReaderOptions): CacheReader {
  const config = resolveReader(options);
  const { redis: settings, local, worker } = config;
  const clock = systemClock();
  const services = compileServices(config, clock);
  const redis = connectRedis({
    url: settings.cache.url,
    name: 'cachewright-reader',
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    commandTimeoutMs: settings.commandTimeoutMs,
    onError: options.onError ?? (() => undefined),
  });
  const instance = `reader-${hostname()}-${process.pid}-${randomUUID().slice(0, 4)}`;
  const logWriter = { writer: instance, maxKeys: settings.cache.logKeys };
  const generations = createGenerations();
  const localTier = createCoherentLocalTier(createKeyvLocalTier({ ...local, clock }), generations);
  const ownWrites = createOwnWrites(instance);
  const redisTier = ownWrites.over(createRedisTier({ redis, log: logWriter }));
  const coherence = createFollower({
    log: createRedisInvalidationLog(
      connectFollower({
        url: settings.cache.url,
        name: 'cachewright-reader-follower',
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        commandTimeoutMs: settings.commandTimeoutMs,
        onError: () => undefined,
      }),
      logWriter,
    ),
    localTier,
    redisTier,
    generations,
    ruleOf: compileFollowRules(config.services, services),
    ownWrites,
    blindMs: local.blindMs,
    clock,
    logger: silentLog,
  });
  const following = coherence.start().catch(() => undefined);
  // Not connected in time is no failure yet: the read itself fails, and says why.
  let isConnecting = true;
  const inTime = new AbortController();
  const connected = waitForRedis(redis, {
    what: describeRedis(settings.cache.url),
    timeoutMs: settings.commandTimeoutMs,
  })
    // What is kept before the log was found is emptied when it is.
    .then(() => Promise.race([following, clock.sleep(settings.commandTimeoutMs, inTime.signal)]))
    .catch(() => undefined)
    .finally(() => {
      isConnecting = false;
      inTime.abort();
    });
  const reader = createReader({
    localTier,
    redisTier,
    leases: createRedisLeases({ redis }),
    coherence,
    clock,
    instance,
    maxWaitMs: 2 * worker.effectTimeoutMs,
  });
  const known = (service: string): Service => {
    const found = services.get(service);
    if (found === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
    return found;
  };
  return {
    async get(service, id) {
      const found = known(service);
      if (isConnecting) await connected;
      const record = await reader.get(found, String(id));
      return record === undefined ? undefined : cachedRecordOf(record);
    },
    async getMany(service, ids) {
      const found = known(service);
      if (isConnecting) await connected;
      return cachedRecordsOf(await reader.getMany(found, ids.map(String)));
    },
    isBlind: () => coherence.state() === 'blind',
    async close() {
      reader.close();
      await coherence.close();
      await following;
      redis.disconnect();
      await Promise.all([...services.values()].map(({ source }) => source.close()));
      await localTier.close();
    },
  };
}

/** Checked and completed by the rules of the whole configuration. */
function resolveReader({ redis, local, services }: CacheReaderOptions): Config {
  const input: ConfigInput = {
    redis,
    ...(local !== undefined && { local }),
    services: Object.fromEntries(
      Object.entries(services).map(([id, service]) => [
        id,
        isTierOnly(service) ? completed(service) : service,
      ]),
    ),
  };
  return resolveConfig({ input, env: environmentOfReferences() }).config;
}

function isTierOnly(service: ReadService): service is TierService {
  return service.source === undefined;
}

/** What a reader of the tiers does not need is filled in. */
function completed({ key, local, read }: TierService): SourceService {
  return {
    key,
    ...(local !== undefined && { local }),
    ...(read !== undefined && { read }),
    source: { type: 'inline' },
    version: { from: 'offset' },
  };
}
