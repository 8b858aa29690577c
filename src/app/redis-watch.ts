import { describeRedis, type RedisClient, redisReason } from '../adapters/redis-connection.ts';
import type { Config } from '../config/schema.ts';
import type { Log } from '../core/ports.ts';
import type { AppEvents } from './events.ts';
import { type RedisRole, troublesOf } from './redis-findings.ts';
import { redisInfos, type ServerInfo } from './redis-roles.ts';

const EVERY_MS = 60_000;

export interface RedisWatch {
  start(): void;
  close(): void;
}

/**
 * Looks at both Redis roles once a minute, by INFO only: somebody may change a policy, a memory limit fills up, a disk no
 * longer takes the append-only file. What is newly wrong is told once, and once when it is well again.
 */
export function createRedisWatch(options: {
  readonly config: Config;
  readonly connections: { readonly queue: RedisClient; readonly cache: RedisClient };
  readonly events: Pick<AppEvents, 'emit'>;
  readonly log: Log;
  readonly everyMs?: number;
}): RedisWatch {
  const { config, connections, everyMs = EVERY_MS } = options;
  const isOne = config.redis.cache.url === config.redis.url;
  const roles: { role: RedisRole; redis: RedisClient; url: string }[] = [
    { role: isOne ? 'both' : 'queue', redis: connections.queue, url: config.redis.url },
    ...(isOne ? [] : [{ role: 'cache' as const, redis: connections.cache, url: config.redis.cache.url }]),
  ];
  const looks = roles.map(({ role, redis, url }) => createLook(role, redis, describeRedis(url), options));
  let timer: NodeJS.Timeout | undefined;
  return {
    start() {
      const look = (): void => void Promise.all(looks.map((each) => each()));
      look();
      timer = setInterval(look, everyMs);
    },
    close: () => clearInterval(timer),
  };
}

function createLook(
  role: RedisRole,
  redis: RedisClient,
  where: string,
  { events, log }: { readonly events: Pick<AppEvents, 'emit'>; readonly log: Log },
): () => Promise<void> {
  let told: ReadonlyMap<string, { readonly text: string; readonly next: string }> = new Map();
  let evicted: number | undefined;
  const alert = (text: string, next: string): void => {
    log.error({ role, where, next }, `Redis: ${text}`);
    events.emit('alert', { what: `redis ${role}`, text, next });
  };
  return async () => {
    let infos: readonly ServerInfo[];
    try {
      infos = await redisInfos(redis);
    } catch (error) {
      // A lost connection is told by the connections themselves.
      log.debug({ role, reason: redisReason(error) }, 'Redis was not looked at');
      return;
    }
    const isOne = infos.length === 1;
    const wrong = new Map(
      infos.flatMap(({ where: node, info }) =>
        troublesOf(role, info).map(({ next, text }) => [
          `${node} ${next}`,
          { next, text: isOne ? text : `${node}: ${text}` },
        ]),
      ),
    );
    for (const [name, { text, next }] of wrong) if (!told.has(name)) alert(text, next);
    for (const [name, { text }] of told)
      if (!wrong.has(name)) log.info({ role, where }, `Redis is well again: ${text}`);
    told = wrong;
    const now = infos.reduce((sum, { info }) => sum + Number(info.get('evicted_keys') ?? 0), 0);
    if (evicted !== undefined && now > evicted) tellEvicted(now - evicted);
    evicted = now;
  };

  function tellEvicted(keys: number): void {
    if (role === 'cache')
      log.warn(
        { role, where, keys },
        'Redis evicted values or fences: what a lost fence means is in docs/versions.md',
      );
    else
      alert(
        `${keys} key(s) were evicted, jobs may be among them`,
        'Set `maxmemory-policy noeviction` and raise maxmemory.',
      );
  }
}
