/** Leases of the read path: a key `lease:{<key>}` in the cache's Redis that ends by itself when its holder dies. */
import { decodeWord, encodeWord } from './lease-words.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';
import { CachewrightError, fail } from '../core/errors.ts';
import type { LeaseState, ReadLeases } from '../core/ports.ts';

/** In the slot of its key, as the fence is. */
export function leaseKeyOf(key: string): string {
  return `lease:{${key}}`;
}

const IF_OURS = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end`;
const RENEW = `${IF_OURS}
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;
const RELEASE = `${IF_OURS}
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** @param redis a connection that fails fast; it stays the caller's, who closes it */
export function createRedisLeases({ redis }: { readonly redis: RedisClient }): ReadLeases {
  return {
    acquire: (keys, token, leaseMs) =>
      Promise.all(
        keys.map(async (key): Promise<LeaseState> => {
          const found = await asked(
            redis.set(leaseKeyOf(key), encodeWord({ kind: 'held', token }), 'PX', leaseMs, 'NX', 'GET'),
          );
          return found === null ? { kind: 'acquired' } : decodeWord(found);
        }),
      ),
    async look(key) {
      const found = await asked(redis.get(leaseKeyOf(key)));
      return found === null ? undefined : decodeWord(found);
    },
    async renew(keys, token, leaseMs) {
      const mine = encodeWord({ kind: 'held', token });
      await Promise.all(
        keys.map((key) => asked(redis.eval(RENEW, 1, leaseKeyOf(key), mine, String(leaseMs)))),
      );
    },
    async release(key, token, word) {
      const mine = encodeWord({ kind: 'held', token });
      const left = word.kind === 'free' || word.ttlMs <= 0 ? '' : encodeWord(word);
      const lifeMs = word.kind === 'free' ? 0 : Math.ceil(word.ttlMs);
      await asked(redis.eval(RELEASE, 1, leaseKeyOf(key), mine, left, String(lifeMs)));
    },
  };
}

async function asked<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (thrown) {
    if (thrown instanceof CachewrightError) throw thrown;
    throw fail('E_REDIS_READ', { reason: redisReason(thrown) });
  }
}
