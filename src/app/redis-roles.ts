import type { RedisClient } from '../adapters/redis-connection.ts';
import { fail } from '../core/errors.ts';
import type { Parts } from './parts.ts';

/** What Redis says of itself, by INFO only: it needs no right to read its configuration. */
export async function redisInfo(redis: RedisClient): Promise<ReadonlyMap<string, string>> {
  const text = await redis.info();
  return new Map(
    text.split('\r\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)] as const] : [];
    }),
  );
}

/** How durable what Redis confirms is: `aof`, `snapshots only` or `memory only`. */
export async function durabilityOf(redis: RedisClient): Promise<string> {
  const info = await redisInfo(redis);
  if (info.get('aof_enabled') === '1') return 'aof';
  return info.get('rdb_last_save_time') !== undefined && info.get('rdb_saves') !== '0'
    ? 'snapshots only'
    : 'memory only';
}

/**
 * The queue's Redis must not evict: an evicted job is a lost chunk.
 *
 * @throws E_REDIS_POLICY when it may
 */
export async function checkRedisRoles({
  connections,
  log,
}: Pick<Parts, 'connections' | 'log'>): Promise<void> {
  const [info, cache] = await Promise.all([redisInfo(connections.queue), redisInfo(connections.cache)]);
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  // Also without a memory limit: one that is set later would begin to evict jobs without a word.
  if (policy !== 'noeviction') throw fail('E_REDIS_POLICY', { policy });
  log.info({ queue: policy, cache: cache.get('maxmemory_policy') ?? 'unknown' }, 'maxmemory-policy of Redis');
  const durability = await durabilityOf(connections.queue);
  if (durability !== 'aof') {
    log.warn(
      { durability },
      "the queue's Redis has no append-only file: after its loss messages are read again from Kafka",
    );
  }
}
