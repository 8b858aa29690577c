/** The Redis tier: plain values under the services' keys, a fence beside each, and one script that writes both. */
import { Cluster } from 'ioredis';
import { announce, type LogWriter } from './redis-announcement.ts';
import { argumentsOf, fenceAfter, isChange, keysOf, resultsOf } from './redis-fence-call.ts';
import { FENCE_SCRIPT } from './redis-fence-script.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';
import { compileScript } from './redis-script.ts';
import { fail } from '../core/errors.ts';
import { fenceKeyOf } from '../core/fence.ts';
import type { RedisTier, RedisTierView, StoredRecord, TierResult, TierWrite } from '../core/ports.ts';

/** Keys of one script call: 1,000 keep the server busy for about 4 ms, and Lua unpacks at most 8,000 values. */
const MAX_KEYS_PER_CALL = 1_000;

const decide = compileScript(FENCE_SCRIPT);

/**
 * @param redis a connection that fails fast and times out (`connectRedis`); it stays the caller's, who closes it.
 *   On Redis Cluster every key is a call of its own, sent without waiting for the one before.
 * @param log announces what is written, with the write itself. On Redis Cluster the log has a slot of its own: it is told
 *   when the writes are done, and before they are said to be, so that whoever repeats them after a crash tells it.
 *   undefined: nothing is announced, which is right only where no local tier is, as in a measurement of the fence alone.
 */
export function createRedisTier({
  redis,
  log,
}: {
  readonly redis: RedisClient;
  readonly log: LogWriter | undefined;
}): RedisTier {
  const isCluster = redis instanceof Cluster;

  async function writeGroup(
    writes: readonly TierWrite[],
    announced: LogWriter | undefined,
  ): Promise<TierResult[]> {
    const args = argumentsOf(writes, announced);
    try {
      return resultsOf(await decide(redis, keysOf(writes.length, announced), args), writes);
    } catch (thrown) {
      const failed = unavailable(thrown);
      return writes.map(() => failed);
    }
  }

  /** A write that could not be announced has failed: repeated, it is the same, and announced then. */
  async function writeAndTell(writes: readonly TierWrite[], to: LogWriter): Promise<TierResult[]> {
    const results = await inGroups(writes, groupSizeOf(redis), (group) => writeGroup(group, undefined));
    const changed = writes.filter((_, index) => isChange(results[index]));
    if (changed.length === 0) return results;
    try {
      await announce(
        redis,
        to,
        changed.map(({ key }) => key),
        changed.map(fenceAfter),
      );
      return results;
    } catch (thrown) {
      const failed = unavailable(thrown);
      return results.map((result) => (isChange(result) ? failed : result));
    }
  }

  return {
    ...createRedisTierView(redis),
    write(writes, as) {
      const to = log === undefined || as === undefined ? log : { ...log, writer: as };
      return isCluster && to !== undefined
        ? writeAndTell(writes, to)
        : inGroups(writes, groupSizeOf(redis), (group) => writeGroup(group, to));
    },
    async fillUnversioned(key, text, ttlMs) {
      const lifeMs = String(Math.max(1, Math.round(ttlMs)));
      const done = redis.eval(UNVERSIONED_SCRIPT, 2, key, fenceKeyOf(key), text, lifeMs);
      return (await orUnavailable(done)) === 1;
    },
    async close() {},
  };
}

/** The tier for those who only look. What writes has to announce it, and is made by {@link createRedisTier}. */
export function createRedisTierView(redis: RedisClient): RedisTierView {
  const size = groupSizeOf(redis);

  async function readGroup(keys: readonly string[]): Promise<(StoredRecord | null)[]> {
    const found = await look(redis, 2 * keys.length, [...keys, ...keys.map(fenceKeyOf)]);
    const [texts = [], lives = []] = found as [(string | null)[]?, number[]?];
    return keys.map((_, index) => {
      const text = texts[index] ?? null;
      const ttlMs = lives[index] ?? GONE;
      return text === null || ttlMs === GONE
        ? null
        : { text, fence: texts[keys.length + index] ?? null, ttlMs };
    });
  }

  return {
    fences: (keys) => inGroups(keys, size, (group) => orUnavailable(redis.mget(group.map(fenceKeyOf)))),
    read: (keys) => inGroups(keys, size, (group) => orUnavailable(readGroup(group))),
  };
}

function groupSizeOf(redis: RedisClient): number {
  return redis instanceof Cluster ? 1 : MAX_KEYS_PER_CALL;
}

async function inGroups<Item, Result>(
  items: readonly Item[],
  size: number,
  call: (group: readonly Item[]) => Promise<Result[]>,
): Promise<Result[]> {
  if (items.length <= size) return items.length === 0 ? [] : call(items);
  const groups: Promise<Result[]>[] = [];
  for (let at = 0; at < items.length; at += size) groups.push(call(items.slice(at, at + size)));
  return (await Promise.all(groups)).flat();
}

/** A value of unknown version gives way to whatever is there, a fence without a value too: that is a tombstone, or newer. */
const UNVERSIONED_SCRIPT = `
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

/** PTTL's answer for a key that is not there. */
const GONE = -2;

/** Values and fences in the order of the keys, and how long the values live: a PTTL by itself costs the client more than all. */
const look = compileScript(`
local found, lives = redis.call('MGET', unpack(KEYS)), {}
for at = 1, #KEYS / 2 do
  lives[at] = found[at] and redis.call('PTTL', KEYS[at]) or ${GONE}
end
return { found, lives }
`);

function unavailable(thrown: unknown): TierResult {
  return { kind: 'failed', error: fail('E_REDIS_UNAVAILABLE', { reason: redisReason(thrown) }) };
}

async function orUnavailable<Result>(answer: Promise<Result>): Promise<Result> {
  try {
    return await answer;
  } catch (thrown) {
    throw fail('E_REDIS_READ', { reason: redisReason(thrown) });
  }
}
