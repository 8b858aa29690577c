import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisInvalidationLog } from '../../src/adapters/redis-invalidation-log.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Clock, LocalEntry, LocalTier, Log, RedisTier } from '../../src/core/ports.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createFollower, type Follower } from '../../src/read/coherence.ts';
import { createGenerations } from '../../src/read/generations.ts';
import { createOwnWrites } from '../../src/read/own-writes.ts';
import { localEntryFrom } from '../../src/read/local-entry.ts';
import { counter, upsert } from '../contract/redis-tier-writes.ts';
import { silentLog } from '../../src/testing/paths.ts';

/** One instance as the tests of coherence need it: a local tier, its reader, and the follower of the log. */
export interface CoherentInstance {
  readonly name: string;
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly follower: Follower;
  /** Reads as the read path does: what is held, else what Redis has, which is then held. */
  read(key: string): Promise<string | undefined>;
  /** What the local tier has, as it stands. */
  held(key: string): string | undefined;
  /** A write as the pipeline makes it: through the fence, then readable here. */
  write(key: string, digits: string): Promise<void>;
  close(): Promise<void>;
}

export interface InstanceOptions {
  /** Where its follower finds Redis; a proxy, perhaps. @defaultValue `url` */
  readonly logUrl?: string;
  readonly onChange?: 'refresh' | 'drop';
  readonly blindMs?: number;
  readonly maxKeys?: number;
  readonly commandTimeoutMs?: number;
  /** Wraps what the instance and its follower read from. */
  readonly wrapTier?: (tier: RedisTier) => RedisTier;
  readonly clock?: Clock;
  readonly logger?: Log;
}

const FOLLOWED_TTL_MS = 600_000;

/** Starts an instance; `start: false` leaves its follower to the test. */
export async function startInstance(
  name: string,
  url: string,
  options: InstanceOptions & { readonly start?: false } = {},
): Promise<CoherentInstance> {
  const clock = options.clock ?? systemClock();
  const connect = (to: string, role: string): RedisClient =>
    connectRedis({
      url: to,
      name: `${name}-${role}`,
      connectTimeoutMs: 5_000,
      commandTimeoutMs: options.commandTimeoutMs ?? 20_000,
      onError: () => undefined,
    });
  const redis = connect(url, 'cache');
  const blocking = connect(options.logUrl ?? url, 'follower');
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  const writer = { writer: name, maxKeys: options.maxKeys ?? 500_000 };
  const plain = createRedisTier({ redis, log: writer });
  const ownWrites = createOwnWrites(name);
  const redisTier = ownWrites.over(options.wrapTier?.(plain) ?? plain);
  const generations = createGenerations();
  const localTier = createCoherentLocalTier(
    createKeyvLocalTier({ maxEntries: 100_000, maxBytes: 100_000_000, clock }),
    generations,
  );
  const rule = { onChange: options.onChange ?? 'refresh', localTtlMs: FOLLOWED_TTL_MS, keepMs: 0 };
  const follower = createFollower({
    log: createRedisInvalidationLog(blocking, writer),
    localTier,
    redisTier,
    generations,
    ruleOf: () => rule,
    ownWrites,
    blindMs: options.blindMs ?? 60_000,
    clock,
    logger: options.logger ?? silentLog,
  });
  if (options.start !== false) await follower.start();
  const read = async (key: string): Promise<string | undefined> => {
    const local = follower.state() === 'fresh' ? await localTier.get(key) : undefined;
    if (local !== undefined) return local.text;
    const generation = follower.generationOf(key);
    const [stored] = await redisTier.read([key]);
    if (stored == null) return undefined;
    const entry = localEntryFrom(key, stored, { ...rule, nowMs: clock.now() });
    if (entry !== undefined) await follower.fill(entry, generation);
    return stored.text;
  };
  let writes = 0;
  return {
    name,
    localTier,
    redisTier,
    follower,
    read,
    held: (key) => localTier.peek(key)?.text,
    async write(key, digits) {
      const token = `${name}.${(writes += 1)}`;
      const { text, origin } = upsert(key, digits);
      const entry: LocalEntry = {
        key,
        text,
        version: counter(digits),
        origin,
        storedMs: clock.now(),
        ttlMs: FOLLOWED_TTL_MS,
      };
      await localTier.stage([entry], token);
      const [result] = await redisTier.write([upsert(key, digits)]);
      if (result?.kind !== 'set' && result?.kind !== 'same') throw new Error(`not written: ${result?.kind}`);
      localTier.promote([entry], token);
    },
    async close() {
      await follower.close();
      redis.disconnect();
      await localTier.close();
    },
  };
}
