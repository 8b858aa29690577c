import { mastersOf, type RedisClient } from '../adapters/redis-connection.ts';
import { fail } from '../core/errors.ts';
import type { Parts } from './parts.ts';
import type { RedisInfo } from './redis-findings.ts';

/** What one server says of itself. */
export interface ServerInfo {
  /** `host:port` */
  readonly where: string;
  readonly info: RedisInfo;
}

/** What the server, or each master of a cluster, says of itself, by INFO only: it needs no right to read its configuration. */
export function redisInfos(redis: RedisClient): Promise<readonly ServerInfo[]> {
  return Promise.all(
    mastersOf(redis).map(async (server) => {
      const text = await server.info();
      const lines = text.split('\r\n').flatMap((line) => {
        const colon = line.indexOf(':');
        return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)] as const] : [];
      });
      return { where: `${server.options.host}:${server.options.port}`, info: new Map(lines) };
    }),
  );
}

const DURABILITIES = ['memory only', 'snapshots only', 'aof'] as const;

/** How durable what Redis confirms is: `aof`, `snapshots only` or `memory only`; of a cluster that of its worst master. */
export async function durabilityOf(redis: RedisClient): Promise<string> {
  const found = (await redisInfos(redis)).map(({ info }) => durabilityIn(info));
  return DURABILITIES.find((durability) => found.includes(durability)) ?? 'unknown';
}

function durabilityIn(info: RedisInfo): (typeof DURABILITIES)[number] {
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
  const [queue, cache] = await Promise.all([redisInfos(connections.queue), redisInfos(connections.cache)]);
  const policies = queue.map(policyOf);
  const policy = policies.find((each) => each !== 'noeviction') ?? 'noeviction';
  // Also without a memory limit: one that is set later would begin to evict jobs without a word.
  if (policy !== 'noeviction') throw fail('E_REDIS_POLICY', { policy });
  log.info(
    { queue: policy, cache: [...new Set(cache.map(policyOf))].join(', ') },
    'maxmemory-policy of Redis',
  );
  const durability = await durabilityOf(connections.queue);
  if (durability !== 'aof') {
    log.warn(
      { durability },
      "the queue's Redis has no append-only file: after its loss messages are read again from Kafka",
    );
  }
}

function policyOf({ info }: ServerInfo): string {
  return info.get('maxmemory_policy') ?? 'unknown';
}
