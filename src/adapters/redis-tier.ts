/** The Redis tier: plain values under the services' keys, a fence beside each, and one script that writes both. */
import { createHash } from 'node:crypto';
import { Cluster } from 'ioredis';
import { argumentsOf, resultsOf } from './redis-fence-call.ts';
import { FENCE_SCRIPT } from './redis-fence-script.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';
import { fail } from '../core/errors.ts';
import { fenceKeyOf } from '../core/fence.ts';
import type { RedisTier, StoredRecord, TierResult, TierWrite } from '../core/ports.ts';

/** Keys of one script call: 1,000 keep the server busy for about 4 ms, and Lua unpacks at most 8,000 values. */
const MAX_KEYS_PER_CALL = 1_000;

const SCRIPT_SHA = createHash('sha1').update(FENCE_SCRIPT).digest('hex');

/**
 * @param redis a connection that fails fast and times out (`connectRedis`); it stays the caller's, who closes it.
 *   On Redis Cluster every key is a call of its own, sent without waiting for the one before.
 */
export function createRedisTier({ redis }: { redis: RedisClient }): RedisTier {
  const groupSize = redis instanceof Cluster ? 1 : MAX_KEYS_PER_CALL;

  async function inGroups<Item, Result>(
    items: readonly Item[],
    call: (group: readonly Item[]) => Promise<Result[]>,
  ): Promise<Result[]> {
    if (items.length <= groupSize) return items.length === 0 ? [] : call(items);
    const groups: Promise<Result[]>[] = [];
    for (let at = 0; at < items.length; at += groupSize) groups.push(call(items.slice(at, at + groupSize)));
    return (await Promise.all(groups)).flat();
  }

  async function writeGroup(writes: readonly TierWrite[]): Promise<TierResult[]> {
    const args = argumentsOf(writes);
    try {
      return resultsOf(await runScript(redis, writes.length * 2, args), writes);
    } catch (thrown) {
      const error = fail('E_REDIS_UNAVAILABLE', { reason: redisReason(thrown) });
      return writes.map(() => ({ kind: 'failed', error }));
    }
  }

  async function readGroup(keys: readonly string[]): Promise<(StoredRecord | null)[]> {
    const [texts, ...lives] = await Promise.all([
      redis.mget([...keys, ...keys.map(fenceKeyOf)]),
      ...keys.map((key) => redis.pttl(key)),
    ]);
    return keys.map((_, index) => {
      const text = texts[index] ?? null;
      const ttlMs = lives[index] ?? GONE;
      return text === null || ttlMs === GONE
        ? null
        : { text, fence: texts[keys.length + index] ?? null, ttlMs };
    });
  }

  return {
    fences: (keys) => inGroups(keys, (group) => orUnavailable(redis.mget(group.map(fenceKeyOf)))),
    write: (writes) => inGroups(writes, writeGroup),
    read: (keys) => inGroups(keys, (group) => orUnavailable(readGroup(group))),
    async fillUnversioned(key, text, ttlMs) {
      const lifeMs = String(Math.max(1, Math.round(ttlMs)));
      const done = redis.eval(UNVERSIONED_SCRIPT, 2, key, fenceKeyOf(key), text, lifeMs);
      return (await orUnavailable(done)) === 1;
    },
    async close() {},
  };
}

/** A value of unknown version gives way to whatever is there, a fence without a value too: that is a tombstone, or newer. */
const UNVERSIONED_SCRIPT = `
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

/** PTTL's answer for a key that is not there. */
const GONE = -2;

/** EVALSHA, and EVAL when the server does not have the script (a fresh one, or after SCRIPT FLUSH). */
async function runScript(redis: RedisClient, keys: number, args: string[]): Promise<unknown> {
  try {
    return await redis.evalsha(SCRIPT_SHA, keys, ...args);
  } catch (thrown) {
    if (!(thrown instanceof Error) || !thrown.message.startsWith('NOSCRIPT')) throw thrown;
    return redis.eval(FENCE_SCRIPT, keys, ...args);
  }
}

async function orUnavailable<Result>(answer: Promise<Result>): Promise<Result> {
  try {
    return await answer;
  } catch (thrown) {
    throw fail('E_REDIS_READ', { reason: redisReason(thrown) });
  }
}
