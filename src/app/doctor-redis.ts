import { describeRedis, mastersOf, type RedisClient } from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import type { Clock, Log } from '../core/ports.ts';
import { checkShards } from './doctor-shards.ts';
import { type Finding, found, ok } from './finding.ts';
import { redisFindings, type RedisInfo, type RedisRole } from './redis-findings.ts';
import { redisInfos } from './redis-roles.ts';
import { withRedis } from './with-redis.ts';

/** Retries and locks are timed by the clocks of the instances; beyond this they come noticeably early or late. */
const MAX_CLOCK_DIFFERENCE_MS = 1_000;
/** BullMQ's streams and scripts need this. */
const MIN_VERSION = [6, 2] as const;

/** Version, policy, persistence, memory, role and clock of one Redis. */
export async function checkRedis(
  config: Config,
  clock: Clock,
  role: RedisRole,
  log: Log,
): Promise<readonly Finding[]> {
  const { url, cache, commandTimeoutMs } = config.redis;
  const address = role === 'cache' ? cache.url : url;
  const check = role === 'cache' ? 'redis cache' : 'redis';
  return withRedis(address, commandTimeoutMs, async (redis) => {
    const findings = await Promise.all(
      mastersOf(redis).map(async (server) => {
        const [node] = await redisInfos(server);
        const { where, info } = node ?? { where: '', info: new Map<string, string>() };
        const what = server === redis ? describeRedis(address) : `master at ${where}`;
        return [
          ok(check, `${what}: version ${info.get('redis_version') ?? 'not told'}`),
          ...checkVersion(check, info),
          ...redisFindings(check, role, info),
          await checkClock(check, server, clock),
        ];
      }),
    );
    if (role === 'cache') return findings.flat();
    return [...findings.flat(), ...(await checkShards(config, redis, log))];
  });
}

function checkVersion(check: string, info: RedisInfo): Finding[] {
  const version = info.get('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor, minMinor] = MIN_VERSION;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return [];
  return [found(check, `version ${version} is too old`, `Upgrade it to ${minMajor}.${minMinor} or newer.`)];
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
