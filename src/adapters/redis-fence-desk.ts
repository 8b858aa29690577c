/** For a person at the desk: looks at one key's fence, and takes it away. The pipeline never does either. */
import { fail } from '../core/errors.ts';
import { fenceKeyOf } from '../core/fence.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';

/** What stands under a key and beside it. */
export interface FenceAtRest {
  /** The fence's text; null: none. */
  readonly fence: string | null;
  /** Remaining life of the fence, milliseconds; -1: no expiry, -2: no fence. */
  readonly fenceTtlMs: number;
  /** Bytes of the value; 0: none. */
  readonly valueBytes: number;
  readonly valueTtlMs: number;
}

export interface FenceDesk {
  look(key: string): Promise<FenceAtRest>;
  /** Removes the fence if it still is `fence`, and leaves the value; false when it was written meanwhile. */
  remove(key: string, fence: string): Promise<boolean>;
}

const REMOVE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/** @param redis the cache's Redis, by a connection that fails fast */
export function createFenceDesk(redis: RedisClient): FenceDesk {
  const guarded = async <Answer>(answer: Promise<Answer>): Promise<Answer> => {
    try {
      return await answer;
    } catch (thrown) {
      throw fail('E_REDIS_READ', { reason: redisReason(thrown) });
    }
  };
  return {
    look: (key) =>
      guarded(
        Promise.all([
          redis.get(fenceKeyOf(key)),
          redis.pttl(fenceKeyOf(key)),
          redis.strlen(key),
          redis.pttl(key),
        ]).then(([fence, fenceTtlMs, valueBytes, valueTtlMs]) => ({
          fence,
          fenceTtlMs,
          valueBytes,
          valueTtlMs,
        })),
      ),
    remove: async (key, fence) => (await guarded(redis.eval(REMOVE, 1, fenceKeyOf(key), fence))) === 1,
  };
}
