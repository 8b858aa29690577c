/** Local tiers of several instances over one real Redis. Nothing here waits for a time to live: entries live ten minutes. */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { counter, freshKey, remove, upsert } from '../contract/redis-tier-writes.ts';
import { type CoherentInstance, type InstanceOptions, startInstance } from '../support/coherent-instance.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { announceReset, COUNTER_KEY, LOG_KEY } from '../../src/adapters/redis-announcement.ts';
import { fenceKeyOf } from '../../src/core/fence.ts';
import type { RedisTier, ResyncReason } from '../../src/core/ports.ts';

describeWith(['redis'], 'coherence of local tiers', () => {
  let server: RedisServer;
  let redis: Redis;
  const closing: (() => Promise<unknown>)[] = [];
  beforeEach(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
    redis.on('error', () => undefined);
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    redis.disconnect();
    await server.stop();
  });

  const start = async (name: string, options: InstanceOptions = {}): Promise<CoherentInstance> => {
    const instance = await startInstance(name, server.url, options);
    closing.push(() => instance.close());
    return instance;
  };
  const behindProxy = async (): Promise<{ proxy: Proxy; logUrl: string }> => {
    const proxy = await startProxy(server.port);
    closing.push(() => proxy.stop());
    return { proxy, logUrl: `redis://127.0.0.1:${proxy.port}` };
  };
  const untilHeld = (instance: CoherentInstance, key: string, text: string | undefined): Promise<unknown> =>
    waitFor(async () => instance.held(key) === text, {
      what: `${instance.name} to hold ${text ?? 'nothing'}`,
      timeoutMs: 30_000,
    });
  /** Reads until the key is held: the announcement of its last write may void the first fill. */
  const hold = (instance: CoherentInstance, key: string, text: string): Promise<unknown> =>
    waitFor(async () => (await instance.read(key)) === text && instance.held(key) === text, {
      what: `${instance.name} to read and hold ${text}`,
      timeoutMs: 30_000,
    });
  const untilResynced = (instance: CoherentInstance, ...reasons: ResyncReason[]): Promise<unknown> =>
    waitFor(async () => reasons.some((reason) => instance.follower.stats().resyncs[reason] > 0), {
      what: `${instance.name} to resync (${reasons.join(' or ')})`,
      timeoutMs: 30_000,
    });
  /** Waits until the instance has taken everything that was announced so far: a change behind it has arrived. */
  const untilFollowed = async (instance: CoherentInstance, other: CoherentInstance): Promise<void> => {
    const marker = freshKey();
    await other.write(marker, '1');
    await hold(instance, marker, 'text 1');
    await other.write(marker, '2');
    await waitFor(async () => instance.held(marker) !== 'text 1', {
      what: `${instance.name} to follow`,
      timeoutMs: 30_000,
    });
  };

  it('a change written by one instance is read from Redis by those that hold the key, and by no others', async () => {
    const [a, b, c] = [await start('a'), await start('b'), await start('c')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await a.write(key, '2');
    await untilHeld(b, key, 'text 2');
    await untilFollowed(c, a);
    expect(c.held(key)).toBeUndefined();
    expect(b.follower.stats()).toMatchObject({ refreshed: 1, dropped: 0 });
    expect(a.held(key)).toBe('text 2');
  });

  it('with `drop` the next reader reads it', async () => {
    const [a, b] = [await start('a'), await start('b', { onChange: 'drop' })];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await a.write(key, '2');
    await untilHeld(b, key, undefined);
    expect(await b.read(key)).toBe('text 2');
    expect(b.follower.stats()).toMatchObject({ refreshed: 0, dropped: 1 });
  });

  it('its own writes cost an instance nothing: no read, nothing dropped', async () => {
    const reads: string[] = [];
    const a = await start('a', {
      wrapTier: (tier) => ({
        ...tier,
        read: (keys) => {
          reads.push(...keys);
          return tier.read(keys);
        },
      }),
    });
    const key = freshKey();
    await a.write(key, '1');
    await a.write(key, '2');
    await waitFor(async () => a.follower.stats().ownEntries === 2, { what: 'its own entries to pass' });
    expect(a.held(key)).toBe('text 2');
    expect(reads).toEqual([]);
    expect(a.follower.stats()).toMatchObject({ entries: 0, refreshed: 0, dropped: 0 });
  });

  it('a delete takes the entry away everywhere', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await a.redisTier.write([remove(key, counter('2'))]);
    await untilHeld(b, key, undefined);
    expect(await b.read(key)).toBeUndefined();
  });

  it('a key whose fence was reset is dropped whatever its version, so that a lower one is served', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '5');
    await hold(b, key, 'text 5');
    await redis.del(fenceKeyOf(key));
    await announceReset(redis, key);
    await untilHeld(b, key, undefined);
    await waitFor(async () => a.held(key) === undefined, { what: 'a to drop it', timeoutMs: 30_000 });
    await a.write(key, '3');
    await hold(b, key, 'text 3');
    expect(a.held(key)).toBe('text 3');
  });

  it('an announcement older than what is held changes nothing', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await b.write(key, '5');
    await a.follower.close();
    // Refused, and told with a neighbour that was not.
    await a.redisTier.write([upsert(key, '4'), upsert(freshKey(), '1')]);
    await untilFollowed(b, a);
    expect(b.held(key)).toBe('text 5');
    expect(b.follower.stats()).toMatchObject({ dropped: 0 });
  });

  it('a refresh that Redis answers late does not undo a newer write of this instance', async () => {
    const gate = pausedReads();
    const [a, b] = [await start('a'), await start('b', { wrapTier: gate.wrap })];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    gate.pause();
    await a.write(key, '2');
    await gate.reached();
    await b.write(key, '3');
    gate.open();
    await untilFollowed(b, a);
    expect(b.held(key)).toBe('text 3');
  });

  it.each(['a newer version', 'a delete', 'a delete without a version'] as const)(
    'a write of its own that is answered late does not stand in front of %s that was announced meanwhile',
    async (change) => {
      const late = Promise.withResolvers<void>();
      const b = await start('b');
      const a = await start('a', {
        wrapTier: (tier) => ({
          ...tier,
          async write(writes, as) {
            const results = await tier.write(writes, as);
            await late.promise;
            return results;
          },
        }),
      });
      const key = freshKey();
      const writing = a.write(key, '1');
      await waitFor(async () => (await b.redisTier.read([key]))[0] != null, {
        what: 'the write to be in Redis',
      });
      if (change === 'a newer version') await b.write(key, '2');
      else {
        const [seen = null] = await b.redisTier.fences([key]);
        const version = change === 'a delete' ? counter('1') : null;
        const results = await b.redisTier.write([{ ...remove(key, version), seen }]);
        expect(results).toMatchObject([{ kind: 'evicted' }]);
      }
      await untilFollowed(a, b);
      late.resolve();
      await writing;
      expect(a.held(key)).toBeUndefined();
      expect(await a.read(key)).toBe(change === 'a newer version' ? 'text 2' : undefined);
    },
  );

  it('a reader that was paused between its read and its fill keeps nothing when the key has changed', async () => {
    const gate = pausedReads();
    const [a, b] = [await start('a'), await start('b', { wrapTier: gate.wrap })];
    const key = freshKey();
    await a.write(key, '1');
    gate.pause();
    const reading = b.read(key);
    await gate.reached();
    await a.write(key, '2');
    await waitFor(async () => b.follower.stats().entries >= 2, { what: 'the change to arrive' });
    gate.open();
    expect(await reading).toBe('text 1');
    expect(b.held(key)).toBeUndefined();
    expect(await b.read(key)).toBe('text 2');
  });

  it('an instance whose connection was cut empties its local tier when it is back, and is right', async () => {
    const { proxy, logUrl } = await behindProxy();
    const [a, b] = [await start('a'), await start('b', { logUrl })];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    proxy.refuse();
    await a.write(key, '2');
    proxy.unblock();
    await untilResynced(b, 'reconnect');
    expect(b.held(key)).not.toBe('text 1');
    expect(await b.read(key)).toBe('text 2');
    expect(b.follower.stats().resyncs.reconnect).toBe(1);
  });

  it('an instance that hears nothing is blind: its reads go to Redis, until it hears again', async () => {
    const { proxy, logUrl } = await behindProxy();
    const [a, b] = [await start('a'), await start('b', { logUrl, blindMs: 1_000 })];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    proxy.refuse();
    await waitFor(async () => b.follower.state() === 'blind', { what: 'b to notice', timeoutMs: 30_000 });
    await a.write(key, '2');
    expect(await b.read(key)).toBe('text 2');
    proxy.unblock();
    await waitFor(async () => b.follower.state() === 'fresh', { what: 'b to hear', timeoutMs: 30_000 });
    expect(await b.read(key)).toBe('text 2');
  });

  it('entries that were trimmed before they were read are noticed', async () => {
    const { proxy, logUrl } = await behindProxy();
    const [a, b] = [await start('a', { maxKeys: 1_000 }), await start('b', { logUrl })];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await untilFollowed(b, a);
    proxy.block();
    await a.write(key, '2');
    await redis.xtrim(LOG_KEY, 'MAXLEN', 0);
    await a.write(freshKey(), '1');
    proxy.unblock();
    await untilResynced(b, 'gap', 'reconnect');
    expect(await b.read(key)).toBe('text 2');
  });

  it('a log that is deleted with entries nobody has read yet is noticed', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await untilFollowed(b, a);
    // In one step, so that b cannot read it in between.
    await redis.multi().hincrby(COUNTER_KEY, 'keys', 1).del(LOG_KEY).exec();
    await untilResynced(b, 'gap');
    expect(b.held(key)).toBeUndefined();
  });

  it('a counter that is lost begins another log, also above old entries', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await untilFollowed(b, a);
    await redis.del(COUNTER_KEY);
    await untilResynced(b, 'counter');
    await untilResynced(a, 'counter');
    await a.write(key, '2');
    await hold(b, key, 'text 2');
    await a.write(key, '3');
    // Read, not only looked at: a second resync may have emptied the tier in between.
    await hold(b, key, 'text 3');
  });

  it('a flushed Redis empties every local tier', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await redis.flushall();
    await Promise.all([untilResynced(a, 'counter'), untilResynced(b, 'counter')]);
    expect([a.held(key), b.held(key), await b.read(key)]).toEqual([undefined, undefined, undefined]);
  });

  it('a Redis that was killed and came back empty is another server', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await server.kill();
    await server.restart();
    await Promise.all([untilResynced(a, 'server'), untilResynced(b, 'server')]);
    expect([a.held(key), b.held(key)]).toEqual([undefined, undefined]);
  });

  it('an instance that starts again begins with an empty tier at the end of the log', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await b.close();
    await a.write(key, '2');
    const again = await start('b');
    expect(again.follower.stats()).toMatchObject({ entries: 0, resyncs: { start: 1 } });
    await hold(again, key, 'text 2');
    await a.write(key, '3');
    await untilHeld(again, key, 'text 3');
  });

  it('an entry of a newer version empties the tier instead of being passed over', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const key = freshKey();
    await a.write(key, '1');
    await hold(b, key, 'text 1');
    await untilFollowed(b, a);
    const [epoch, keys] = await redis.hmget(COUNTER_KEY, 'epoch', 'keys');
    const next = Number(keys) + 1;
    await redis
      .multi()
      .hincrby(COUNTER_KEY, 'keys', 1)
      .xadd(LOG_KEY, `${epoch}-${next}`, 'f', '2', 'n', '1', 'w', 'newer', 'k', 'who knows')
      .exec();
    await untilResynced(b, 'format');
    expect(b.held(key)).toBeUndefined();
    await untilFollowed(b, a);
  });
});

/** Holds reads of a tier after Redis has answered, before the answer is used. */
function pausedReads() {
  let held = Promise.withResolvers<void>();
  let arrived = Promise.withResolvers<void>();
  let isPaused = false;
  return {
    wrap: (tier: RedisTier): RedisTier => ({
      ...tier,
      async read(keys) {
        const answer = await tier.read(keys);
        if (isPaused) {
          arrived.resolve();
          await held.promise;
        }
        return answer;
      },
    }),
    pause() {
      [held, arrived, isPaused] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), true];
    },
    reached: () => arrived.promise,
    open() {
      isPaused = false;
      held.resolve();
    },
  };
}
