import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import {
  createMemoryInvalidationLog,
  createMemoryStream,
} from '../../src/adapters/memory-invalidation-log.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import { fail } from '../../src/core/errors.ts';
import type {
  InvalidationLog,
  LocalTier,
  RedisTier,
  StoredRecord,
  TierResult,
} from '../../src/core/ports.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createFollower, type Follower } from '../../src/read/coherence.ts';
import { createGenerations } from '../../src/read/generations.ts';
import { createOwnWrites, type OwnWrites } from '../../src/read/own-writes.ts';
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
  /** Reads of Redis that wait for the test. */
  let reads: PromiseWithResolvers<(StoredRecord | null)[]>[];
  let ownWrites: OwnWrites;
  beforeEach(async () => {
    clock = createVirtualClock(1_000_000);
    asked = [];
    reads = [];
    ownWrites = createOwnWrites('own');
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
      redisTier: {
        ...other,
        read() {
          const answer = Promise.withResolvers<(StoredRecord | null)[]>();
          reads.push(answer);
          return answer.promise;
        },
      },
      generations,
      ruleOf: () => ({ onChange: 'refresh', localTtlMs: 600_000, keepMs: 0 }),
      ownWrites,
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

  it('drops what waits for Redis when it hears again after it was blind', async () => {
    await other.write([upsert(KEY, '2')]);
    await hear();
    expect(reads).toHaveLength(1);
    stop(BLIND_MS + 1);
    expect(localTier.peek(KEY)?.text).toBe('text 1');
    await hear();
    expect(follower.state()).toBe('fresh');
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

  it('lets no read that began before another ended put something older into the tier', async () => {
    const generation = follower.generationOf(KEY);
    expect(await follower.fill(entryOf(KEY, '3', { storedMs: clock.now() }), generation)).toBe(true);
    localTier.discard(KEY, 'job.1', { version: null });
    expect(await follower.fill(entryOf(KEY, '2', { storedMs: clock.now() }), generation)).toBe(false);
    expect(localTier.peek(KEY)).toBeUndefined();
  });

  it('voids reads under way also when it keeps nothing of what another found', async () => {
    const first = follower.generationOf(KEY);
    localTier.evict(KEY, null);
    const second = follower.generationOf(KEY);
    expect(await follower.fill(entryOf(KEY, '3', { storedMs: clock.now() }), first)).toBe(false);
    expect(await follower.fill(entryOf(KEY, '2', { storedMs: clock.now() }), second)).toBe(false);
    expect(localTier.peek(KEY)).toBeUndefined();
  });

  it('drops what Redis has no more, though older news came while it was asked', async () => {
    await other.write([upsert(KEY, '3')]);
    await hear();
    await vi.waitFor(() => expect(reads).toHaveLength(1));
    localTier.discard(KEY, 'job.1', { version: { kind: 'counter', digits: '1' } });
    expect(localTier.peek(KEY)?.text).toBe('text 1');
    reads[0]?.resolve([null]);
    await vi.waitFor(() => expect(localTier.peek(KEY)).toBeUndefined());
  });

  describe('meets a write of its own', () => {
    let answer: PromiseWithResolvers<TierResult[]>;
    let writing: Promise<TierResult[]>;
    beforeEach(() => {
      answer = Promise.withResolvers();
      const tier: RedisTier = {
        ...other,
        async write(writes, as) {
          await other.write(writes, as);
          return answer.promise;
        },
      };
      writing = ownWrites.over(tier).write([upsert(KEY, '2')]);
    });

    it('and passes it over when the answer is there: the pipeline has put it into the tier', async () => {
      answer.resolve([{ kind: 'set', note: '' }]);
      await writing;
      await hear();
      expect(reads).toHaveLength(0);
      expect(follower.stats()).toMatchObject({ ownEntries: 1, entries: 0 });
    });

    it('and waits for an answer that is on its way', async () => {
      await hear();
      stop(200);
      await other.write([upsert('product_info_2', '1')]);
      await hear();
      answer.resolve([{ kind: 'set', note: '' }]);
      await writing;
      stop(200);
      await other.write([upsert('product_info_2', '2')]);
      await hear();
      expect(reads).toHaveLength(0);
      expect(follower.stats()).toMatchObject({ ownEntries: 1, entries: 2 });
    });

    it('and heeds it like any other when the answer is long in coming', async () => {
      await hear();
      stop(250);
      await other.write([upsert('product_info_2', '1')]);
      await hear();
      expect(reads).toHaveLength(1);
    });

    it('and heeds it like any other when the answer did not come', async () => {
      answer.reject(new Error('no answer'));
      await writing.catch(() => undefined);
      await hear();
      expect(reads).toHaveLength(1);
    });

    it('and heeds it like any other when it was done after it had failed', async () => {
      const held = Promise.withResolvers<void>();
      const tier: RedisTier = {
        ...other,
        async write(writes, as) {
          void held.promise.then(() => other.write(writes, as));
          return [{ kind: 'failed', error: fail('E_REDIS_UNAVAILABLE', { reason: 'no answer' }) }];
        },
      };
      answer.resolve([{ kind: 'set', note: '' }]);
      await writing;
      await ownWrites.over(tier).write([upsert(KEY, '3')]);
      await hear();
      expect(reads).toHaveLength(1);
      reads[0]?.resolve([null]);
      await vi.waitFor(() => expect(localTier.peek(KEY)).toBeUndefined());
      await localTier.fill(entryOf(KEY, '2', { storedMs: clock.now(), ttlMs: 600_000 }));
      held.resolve();
      await hear();
      expect(reads).toHaveLength(2);
    });
  });
});
