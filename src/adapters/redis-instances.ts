import type { Cluster, Redis } from 'ioredis';
import { reasonOf } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';

/** How often an instance says that it lives, and after what silence it counts as gone, milliseconds. */
const BEAT_MS = 10_000;
const GONE_MS = 35_000;

export interface Instances {
  /** Registers this instance and keeps it registered; `onOthers` is told whenever the set of the others changes. */
  start(onOthers: (others: readonly string[]) => void): Promise<void>;
  /** Strikes this instance off at once, so that the others need not wait for its silence. */
  close(): Promise<void>;
}

/** The instances that share a queue: a sorted set of names by when they were last heard of. */
export function createInstances(options: {
  readonly redis: Redis | Cluster;
  readonly prefix: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}): Instances {
  const { redis, name, clock, log } = options;
  const key = `${options.prefix}:instances`;
  let timer: NodeJS.Timeout | undefined;
  let known = '';

  const beat = async (onOthers: (others: readonly string[]) => void): Promise<void> => {
    const now = Math.floor(clock.now());
    await redis.zadd(key, String(now), name);
    await redis.zremrangebyscore(key, '-inf', String(now - GONE_MS));
    const others = (await redis.zrange(key, '0', '-1')).filter((other) => other !== name);
    if (others.join(' ') === known) return;
    known = others.join(' ');
    onOthers(others);
  };

  return {
    async start(onOthers) {
      const quietly = (): Promise<void> =>
        beat(onOthers).catch((error: unknown) => log.debug({ reason: reasonOf(error) }, 'not registered'));
      await quietly();
      timer = setInterval(() => void quietly(), BEAT_MS);
    },
    async close() {
      clearInterval(timer);
      await redis
        .zrem(key, name)
        .catch((error: unknown) => log.debug({ reason: reasonOf(error) }, 'not struck off'));
    },
  };
}
