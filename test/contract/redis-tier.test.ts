import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Probe, redisTierSuite } from './redis-tier-suite.ts';
import { counter, freshKey, remove, upsert } from './redis-tier-writes.ts';
import { describeWith } from '../support/needs.ts';
import { startRedis, startRedisCluster, type RedisServer } from '../support/servers/redis.ts';
import { sharedRedis } from '../support/servers/shared.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisTier, createRedisTierView } from '../../src/adapters/redis-tier.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fenceKeyOf } from '../../src/core/fence.ts';

async function connected(url: string, commandTimeoutMs = 20_000): Promise<RedisClient> {
  const redis = connectRedis({
    url,
    name: 'test',
    connectTimeoutMs: 5_000,
    commandTimeoutMs,
    onError: () => {},
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  return redis;
}

function probeOf(redis: RedisClient): Probe {
  return {
    get: (key) => redis.get(key),
    put: async (key, text) => void (await redis.set(key, text)),
    putForeign: async (key) => void (await redis.hset(key, 'field', 'value')),
    isForeign: async (key) => !['string', 'none'].includes(await redis.type(key)),
    lifeMs: (key) => redis.pttl(key),
  };
}

async function tiersAt(url: string): ReturnType<Parameters<typeof redisTierSuite>[1]> {
  const [redis, other] = await Promise.all([connected(url), connected(url)]);
  return {
    tier: createRedisTier({ redis, log: undefined }),
    other: createRedisTier({ redis: other, log: undefined }),
    probe: probeOf(redis),
    async close() {
      redis.disconnect();
      other.disconnect();
    },
  };
}

redisTierSuite('in memory', async () => {
  const clock = systemClock();
  const tier = createMemoryRedisTier({ clock });
  const { cells } = tier;
  return {
    tier,
    other: tier,
    probe: {
      get: async (key) => {
        const cell = cells.get(key);
        return cell === undefined || (cell.untilMs !== 0 && cell.untilMs <= clock.now()) ? null : cell.text;
      },
      put: async (key, text) => void cells.set(key, { text, untilMs: 0 }),
      putForeign: async (key) => void cells.set(key, { text: null, untilMs: 0 }),
      isForeign: async (key) => cells.get(key)?.text === null,
      lifeMs: async (key) => {
        const untilMs = cells.get(key)?.untilMs ?? -2;
        return untilMs > 0 ? untilMs - clock.now() : untilMs === 0 ? -1 : -2;
      },
    },
    close: () => tier.close(),
  };
});

describeWith(['redis'], 'on real servers', () => {
  redisTierSuite('on a single Redis', async () => tiersAt((await sharedRedis()).url));

  redisTierSuite('on Redis Cluster', async () => {
    const cluster = await startRedisCluster(3);
    const hosts = cluster.hosts.map(({ host, port }) => `${host}:${port}`).join(',');
    const under = await tiersAt(`redis+cluster://${hosts}`);
    return {
      ...under,
      async close() {
        await under.close();
        await cluster.stop();
      },
    };
  });
});

describeWith(['redis'], 'the Redis tier and its server', () => {
  let server: RedisServer;
  let redis: RedisClient;
  beforeAll(async () => {
    server = await startRedis();
    redis = await connected(server.url);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  async function callsDuring(work: () => Promise<unknown>): Promise<Record<string, number>> {
    await redis.config('RESETSTAT');
    await work();
    const stats = await redis.info('commandstats');
    return Object.fromEntries(
      [...stats.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].map((match) => [match[1], Number(match[2])]),
    );
  }

  it('writes an ordinary group with one EVALSHA, one MGET and one MSET', async () => {
    const tier = createRedisTier({ redis, log: undefined });
    const keys = Array.from({ length: 500 }, freshKey);
    await tier.write(keys.map((key) => upsert(key, '1')));
    const fresh = await callsDuring(() => tier.write(keys.map((key) => upsert(`${key}-more`, '1'))));
    expect(fresh).toMatchObject({ evalsha: 1, mget: 1, mset: 1, exists: 1 });
    expect(fresh['strlen']).toBeUndefined();
    const update = await callsDuring(() => tier.write(keys.map((key) => upsert(key, '2'))));
    expect(update).toMatchObject({ evalsha: 1, mget: 1, mset: 1, strlen: 500 });
    expect([update['set'], update['get'], update['eval'], update['exists']]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('deletes a group with one EVALSHA, one MSET and one DEL', async () => {
    const tier = createRedisTier({ redis, log: undefined });
    const keys = Array.from({ length: 500 }, freshKey);
    await tier.write(keys.map((key) => upsert(key, '1')));
    const calls = await callsDuring(() => tier.write(keys.map((key) => remove(key, counter('2')))));
    expect(calls).toMatchObject({ evalsha: 1, mget: 1, mset: 1, del: 1 });
  });

  it('is not made without saying where it announces: a command that only looks has the view, which cannot write', () => {
    // @ts-expect-error -- nobody is told of what such a tier writes
    createRedisTier({ redis });
    expect(Object.keys(createRedisTierView(redis)).sort()).toEqual(['fences', 'read']);
  });

  it('looks at fences with one MGET', async () => {
    const calls = await callsDuring(() =>
      createRedisTier({ redis, log: undefined }).fences(Array.from({ length: 500 }, freshKey)),
    );
    expect(calls).toMatchObject({ mget: 1 });
  });

  it('goes on when the server has forgotten the script', async () => {
    const tier = createRedisTier({ redis, log: undefined });
    const key = freshKey();
    await tier.write([upsert(key, '1')]);
    await redis.script('FLUSH');
    expect(await tier.write([upsert(key, '2')])).toEqual([{ kind: 'set', note: '' }]);
    const calls = await callsDuring(() => tier.write([upsert(key, '3')]));
    expect(calls).toMatchObject({ evalsha: 1 });
    expect(calls['eval']).toBeUndefined();
  });
});

describeWith(['redis'], 'the Redis tier when Redis is in trouble', () => {
  it('fails every write cleanly when memory is full: neither value nor fence is written', async () => {
    const server = await startRedis();
    const redis = await connected(server.url);
    const tier = createRedisTier({ redis, log: undefined });
    const [updated, deleted, fresh] = [freshKey(), freshKey(), freshKey()];
    await tier.write([upsert(updated, '1'), upsert(deleted, '1')]);
    await redis.config('SET', 'maxmemory', '1');
    const timed = { ...upsert(freshKey(), '1'), ttlMs: 60_000, fenceTtlMs: 60_000 };
    const results = [
      ...(await tier.write([upsert(updated, '2'), remove(deleted, counter('2')), upsert(fresh, '1')])),
      ...(await tier.write([timed, { ...remove(deleted, counter('2')), fenceTtlMs: 60_000 }])),
    ];
    for (const result of results) {
      expect(result).toMatchObject({ kind: 'failed', error: { code: 'E_REDIS_UNAVAILABLE' } });
      expect(result.kind === 'failed' && result.error.message).toMatch(/OOM/);
    }
    const keys = [updated, deleted, fresh, timed.key];
    expect((await tier.read(keys)).map((record) => record?.text)).toEqual([
      'text 1',
      'text 1',
      undefined,
      undefined,
    ]);
    expect((await tier.fences(keys)).map((fence) => fence?.split('|')[3])).toEqual([
      '1',
      '1',
      undefined,
      undefined,
    ]);
    expect(await redis.exists(fenceKeyOf(fresh), fenceKeyOf(timed.key))).toBe(0);

    await redis.config('SET', 'maxmemory', '0');
    expect(await tier.write([upsert(updated, '2')])).toEqual([{ kind: 'set', note: '' }]);
    redis.disconnect();
    await server.stop();
  });

  it('answers with failed writes, within the deadline, while Redis hangs or is gone, and goes on when it is back', async () => {
    const server = await startRedis();
    const redis = await connected(server.url, 300);
    const tier = createRedisTier({ redis, log: undefined });
    const key = freshKey();
    await tier.write([upsert(key, '1')]);

    server.pause();
    const startedMs = performance.now();
    const unavailable = { kind: 'failed', error: { code: 'E_REDIS_UNAVAILABLE' } };
    expect(await tier.write([upsert(key, '2'), upsert(freshKey(), '1')])).toMatchObject([
      unavailable,
      unavailable,
    ]);
    await expect(tier.fences([key])).rejects.toMatchObject({ code: 'E_REDIS_READ' });
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    server.resume();

    await server.kill();
    expect(await tier.write([upsert(key, '3')])).toMatchObject([unavailable]);
    await expect(tier.read([key])).rejects.toMatchObject({ code: 'E_REDIS_READ' });

    await server.restart();
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
    expect(await tier.write([upsert(key, '4')])).toEqual([{ kind: 'set', note: '' }]);
    redis.disconnect();
    await server.stop();
  });

  it('never shows a record or a password in a failure', async () => {
    const server = await startRedis({ password: 'hunter2-secret' });
    const reasons: string[] = [];
    const redis = connectRedis({
      url: `redis://:wrong-secret@${server.host}:${server.port}`,
      name: 'test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 500,
      onError: (reason) => reasons.push(reason),
    });
    const thrown: unknown = await waitForRedis(redis, { what: 'Redis', timeoutMs: 1_500 }).catch(
      (error: unknown) => error,
    );
    expect(thrown).toMatchObject({
      code: 'E_UNREACHABLE',
      details: { reason: expect.stringContaining('WRONGPASS') },
    });
    const [result] = await createRedisTier({ redis, log: undefined }).write([
      { ...upsert('k', '1'), text: 'record-secret' },
    ]);
    expect(result).toMatchObject({ kind: 'failed' });
    const shown = JSON.stringify([reasons, thrown, result, String(thrown)]);
    expect(shown).not.toMatch(/secret/);
    expect(reasons.length).toBeGreaterThan(0);
    redis.disconnect();
    await server.stop();
  });
});
