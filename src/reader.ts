/**
 * `cachewright/reader`: reads what Cachewright cached, in a process that does none of its work. It loads the drivers of
 * Redis and of the local tier only: no Kafka, no queue, no HTTP.
 */
import { createKeyvLocalTier } from './adapters/keyv-local-tier.ts';
import { connectRedis, describeRedis, waitForRedis } from './adapters/redis-connection.ts';
import { createRedisTier } from './adapters/redis-tier.ts';
import { resolveConfig } from './config/resolve.ts';
import type { ConfigInput } from './config/schema.ts';
import { systemClock } from './core/clock.ts';
import { fail } from './core/errors.ts';
import { compileKeyTemplate } from './core/key.ts';
import { type CachedRecord, cachedRecordOf } from './read/cached-record.ts';
import { createLoneCoherence } from './read/fills.ts';
import { createGenerations } from './read/generations.ts';
import { createReader } from './read/reader.ts';

export { CachewrightError, type ErrorCode } from './core/errors.ts';
export type { CachedRecord } from './read/cached-record.ts';

/** What of a service its readers need; a whole service of the configuration will do. */
export interface ReadService {
  /** The cache key, `product_info_{id}`, as the writing side has it. */
  readonly key: string;
  readonly local?: {
    /** How long a record stays in the local tier, in milliseconds or as `'30s'`. @defaultValue `local.ttlMs` */
    readonly ttlMs?: number | string;
  };
}

export interface CacheReaderOptions {
  readonly redis: {
    /** Redis of the cache: `redis.cache.url` of the writing side, or its `redis.url` when it has no other. */
    readonly url: string;
    /** How long a read may take, in milliseconds or as `'5s'`. @defaultValue 5 s */
    readonly commandTimeoutMs?: number | string;
  };
  /**
   * Bounds and time to live of the local tier. The time to live is how stale an answer may be: a reader hears of
   * changes by its end only.
   */
  readonly local?: ConfigInput['local'];
  /** By service id. */
  readonly services: Readonly<Record<string, ReadService>>;
  /** Told why the connection fails, each time. It goes on trying; until then `get` answers from the local tier only. */
  readonly onError?: (reason: string) => void;
}

export interface CacheReader {
  /**
   * A cached record, from the local tier of this reader, else from Redis; undefined: neither has it.
   *
   * @throws `E_NOT_FOUND` for an unknown service, `E_KEY_INVALID`, `E_REDIS_READ`
   */
  get(service: string, id: string | number | bigint): Promise<CachedRecord | undefined>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Begins to connect; the first `get` waits for it, no longer than for a command.
 *
 * @throws `E_CONFIG_INVALID` with all problems. The environment is not looked at.
 */
export function createCacheReader(options: CacheReaderOptions): CacheReader {
  const { redis: settings, local, services } = resolveReader(options);
  const clock = systemClock();
  const redis = connectRedis({
    url: settings.cache.url,
    name: 'cachewright-reader',
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    commandTimeoutMs: settings.commandTimeoutMs,
    onError: options.onError ?? (() => undefined),
  });
  // Not connected in time is no failure yet: the read itself fails, and says why.
  const connected = waitForRedis(redis, {
    what: describeRedis(settings.cache.url),
    timeoutMs: settings.commandTimeoutMs,
  }).catch(() => undefined);
  const localTier = createKeyvLocalTier({ ...local, clock });
  const coherence = createLoneCoherence(localTier, createGenerations());
  const reader = createReader({ localTier, redisTier: createRedisTier({ redis }), coherence, clock });
  const known = new Map(
    Object.entries(services).map(([id, service]) => [
      id,
      { keyOf: compileKeyTemplate(service.key), localTtlMs: service.local.ttlMs },
    ]),
  );
  return {
    async get(service, id) {
      const found = known.get(service);
      if (found === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
      await connected;
      const record = await reader.get(found, String(id));
      return record === undefined ? undefined : cachedRecordOf(record);
    },
    async close() {
      redis.disconnect();
      await localTier.close();
    },
  };
}

/** Checked and completed by the rules of the whole configuration; what a reader does not need is filled in. */
function resolveReader({ redis, local, services }: CacheReaderOptions) {
  const input: ConfigInput = {
    redis,
    ...(local !== undefined && { local }),
    services: Object.fromEntries(
      Object.entries(services).map(([id, service]) => [
        id,
        {
          key: service.key,
          ...(service.local !== undefined && { local: service.local }),
          source: { type: 'inline' },
          version: { from: 'offset' },
        },
      ]),
    ),
  };
  return resolveConfig({ input, env: {} }).config;
}
