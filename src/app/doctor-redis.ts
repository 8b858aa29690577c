import { describeRedis, type RedisClient } from '../adapters/redis-connection.ts';
import { formatBytes } from '../config/durations.ts';
import type { Config } from '../config/schema.ts';
import type { Clock } from '../core/ports.ts';
import { type Finding, found, ok } from './finding.ts';
import { redisInfo } from './redis-roles.ts';
import { withRedis } from './with-redis.ts';

/** What a Redis is for; `both` when one serves queue and cache. */
export type RedisRole = 'queue' | 'cache' | 'both';

/** Retries and locks are timed by the clocks of the instances; beyond this they come noticeably early or late. */
const MAX_CLOCK_DIFFERENCE_MS = 1_000;
/** BullMQ's streams and scripts need this. */
const MIN_VERSION = [6, 2] as const;
/** Used memory from which on a Redis counts as nearly full. */
const NEARLY_FULL = 0.9;

type Info = ReadonlyMap<string, string>;

/** Version, policy, persistence, memory, role and clock of one Redis. */
export async function checkRedis(config: Config, clock: Clock, role: RedisRole): Promise<readonly Finding[]> {
  const { url, cache, commandTimeoutMs } = config.redis;
  const address = role === 'cache' ? cache.url : url;
  const check = role === 'cache' ? 'redis cache' : 'redis';
  return withRedis(address, commandTimeoutMs, async (redis) => {
    const info = await redisInfo(redis);
    return [
      ok(check, `${describeRedis(address)}: version ${info.get('redis_version') ?? 'not told'}`),
      ...checkVersion(check, info),
      ...checkServer(check, info),
      ...(role === 'cache' ? [] : [...checkPolicy(check, info), ...checkPersistence(check, info)]),
      await checkClock(check, redis, clock),
    ];
  });
}

function checkVersion(check: string, info: Info): Finding[] {
  const version = info.get('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor, minMinor] = MIN_VERSION;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return [];
  return [found(check, `version ${version} is too old`, `Upgrade it to ${minMajor}.${minMinor} or newer.`)];
}

function checkServer(check: string, info: Info): Finding[] {
  const findings: Finding[] = [];
  if (info.get('role') === 'slave') {
    findings.push(found(check, 'this is a replica: it takes no writes', 'Give the address of the primary.'));
  }
  const [used, max] = [Number(info.get('used_memory') ?? 0), Number(info.get('maxmemory') ?? 0)];
  if (max > 0 && used > max * NEARLY_FULL) {
    const text = `${formatBytes(used)} of ${formatBytes(max)} (maxmemory) are in use`;
    findings.push(found(check, text, 'Raise maxmemory: a full Redis refuses writes, and ingest pauses.'));
  }
  return findings;
}

/** The queue's Redis must not evict: an evicted job is a lost chunk. */
function checkPolicy(check: string, info: Info): Finding[] {
  const policy = info.get('maxmemory_policy') ?? 'not told';
  if (policy === 'noeviction') return [ok(check, 'maxmemory-policy noeviction')];
  const next =
    'Set `maxmemory-policy noeviction` (CONFIG SET and redis.conf), or use another Redis for the queue.';
  return [found(check, `maxmemory-policy ${policy}: jobs could be evicted, and a start is refused`, next)];
}

function checkPersistence(check: string, info: Info): Finding[] {
  if (info.get('aof_enabled') !== '1') {
    const text =
      'no append-only file: after its loss messages are read again from Kafka, and posted ones are gone';
    return [found(check, text, 'Set `appendonly yes`.')];
  }
  const status = info.get('aof_last_write_status') ?? 'ok';
  if (status === 'ok') return [ok(check, 'append-only file on')];
  return [
    found(check, `the last write of the append-only file failed (${status})`, "Look at Redis' disk and log."),
  ];
}

async function checkClock(check: string, redis: RedisClient, clock: Clock): Promise<Finding> {
  const beforeMs = clock.now();
  const [seconds = 0, microseconds = 0] = (await redis.time()).map(Number);
  const here = (beforeMs + clock.now()) / 2;
  const differenceMs = Math.round(seconds * 1_000 + microseconds / 1_000 - here);
  const text = `its clock is ${Math.abs(differenceMs)} ms ${differenceMs < 0 ? 'behind' : 'ahead of'} this one`;
  if (Math.abs(differenceMs) <= MAX_CLOCK_DIFFERENCE_MS) return ok(check, text);
  return found(check, text, 'Keep both by NTP: versions that are times, retries and locks depend on it.');
}
