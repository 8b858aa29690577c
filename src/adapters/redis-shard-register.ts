import { fail } from '../core/errors.ts';
import type { ShardRegister } from '../core/ports.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';

/** KEYS the number · ARGV a number: the larger of both is kept, and returned. One shard is written down nowhere. */
const RAISE = `
local known = tonumber(redis.call('GET', KEYS[1]) or '1')
local wanted = tonumber(ARGV[1])
if wanted > known then redis.call('SET', KEYS[1], ARGV[1]) return wanted end
return known
`;

/**
 * How many shards a queue ever had, in the slot of the first one. The number never falls: a process that was stopped for long
 * may still put a job into a shard that is no longer in use, and it must be found there.
 */
export function createShardRegister(options: {
  readonly redis: RedisClient;
  /** The hash-tagged prefix of the first shard. */
  readonly prefix: string;
  readonly configured: number;
}): ShardRegister {
  const { redis, prefix, configured } = options;
  const key = `${prefix}:shards`;
  let known = configured;
  let isReady: boolean = false;

  const ask = async (): Promise<number> => {
    try {
      return Number(
        known === 1 ? ((await redis.get(key)) ?? 1) : await redis.eval(RAISE, 1, key, String(known)),
      );
    } catch (error) {
      throw fail('E_UNREACHABLE', { what: 'The number of shards in Redis', reason: redisReason(error) });
    }
  };
  const look = async (): Promise<number> => {
    // What this process knows is written down again: the server may have been rolled back.
    known = Math.max(known, await ask());
    isReady = true;
    return known;
  };
  return {
    configured,
    count: () => known,
    look,
    async ready() {
      if (!isReady) await look();
    },
  };
}
