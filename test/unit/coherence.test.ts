import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import {
  createMemoryInvalidationLog,
  createMemoryStream,
} from '../../src/adapters/memory-invalidation-log.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import type { InvalidationLog, LocalTier, RedisTier } from '../../src/core/ports.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createFollower, type Follower } from '../../src/read/coherence.ts';
import { createGenerations } from '../../src/read/generations.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { createVirtualClock, type VirtualClock } from '../../src/testing/virtual-clock.ts';
import { upsert } from '../contract/redis-tier-writes.ts';
import { entryOf } from '../support/tier-entries.ts';

const KEY = 'product_info_1';
const BLIND_MS = 5_000;

describe('the follower of the invalidation log', () => {
  let clock: VirtualClock;
  let localTier: LocalTier;
  let follower: Follower;
  let other: RedisTier;
  /** Reads of the log that wait for the test, as in a process that is stopped. */
  let asked: PromiseWithResolvers<void>[];
  beforeEach(async () => {
    clock = createVirtualClock(1_000_000);
    asked = [];
    const stream = createMemoryStream();
    const generations = createGenerations();
    const ownTier = createKeyvLocalTier({ maxEntries: 10, maxBytes: 1 << 20, clock });
    localTier = createCoherentLocalTier(ownTier, generations);
    other = createMemoryRedisTier({ clock, log: { stream, by: { writer: 'other', maxKeys: 100 } } });
    const near = createMemoryInvalidationLog(stream, { maxKeys: 100 }, clock);
    const log: InvalidationLog = {
      ...near,
      async read(after) {
        const found = await near.read(after, 0);
        const turn = Promise.withResolvers<void>();
        asked.push(turn);
        await turn.promise;
        return found.length > 0 ? found : near.read(after, 0);
      },
    };
    follower = createFollower({
      log,
      localTier,
      // What has changed is asked of Redis and does not come.
      redisTier: { ...other, read: () => new Promise<never>(() => undefined) },
      generations,
      ruleOf: () => ({ onChange: 'refresh', localTtlMs: 600_000, keepMs: 0 }),
      writer: 'own',
      blindMs: BLIND_MS,
      clock,
      logger: silentLog,
    });
    await follower.start();
    await vi.waitFor(() => asked.length === 1 || Promise.reject(new Error('it does not ask')));
    await localTier.fill(entryOf(KEY, '1', { storedMs: clock.now(), ttlMs: 600_000 }));
  });
  afterEach(async () => {
    const closed = follower.close();
    for (const turn of asked) turn.resolve();
    await closed;
  });

  /** The log's answer arrives, and the follower asks again. */
  const hear = async (): Promise<void> => {
    asked.shift()?.resolve();
    await vi.waitFor(() => asked.length === 1 || Promise.reject(new Error('it does not ask')));
  };
  const stop = (ms: number): void => clock.advanceTo(clock.now() + ms);

  it('lets the old entry be served until Redis has answered', async () => {
    await other.write([upsert(KEY, '2')]);
    await hear();
    expect(localTier.peek(KEY)?.text).toBe('text 1');
  });

  it('drops at once what it hears of only after it was blind: until Redis has answered it would be too old', async () => {
    await other.write([upsert(KEY, '2')]);
    stop(BLIND_MS + 1);
    expect(follower.state()).toBe('blind');
    await hear();
    expect(localTier.peek(KEY)).toBeUndefined();
  });

  it('counts its silence from when it asked: an answer that was long under way tells nothing of that time', async () => {
    stop(BLIND_MS - 1);
    await other.write([upsert(KEY, '2')]);
    await hear();
    expect(follower.stats().heardMsAgo).toBe(BLIND_MS - 1);
    stop(2);
    expect(follower.state()).toBe('blind');
  });

  it('lets no write of its own become readable that is answered after a newer one was read from Redis', async () => {
    const own = entryOf(KEY, '2', { storedMs: clock.now() });
    await localTier.stage([own], 'job.1');
    const generation = follower.generationOf(KEY);
    localTier.evict(KEY, null);
    expect(await follower.fill(entryOf(KEY, '3', { storedMs: clock.now() }), generation)).toBe(false);
    localTier.promote([own], 'job.1');
    expect(localTier.peek(KEY)).toBeUndefined();
  });
});
