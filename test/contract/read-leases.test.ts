import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryLeases } from '../../src/adapters/memory-leases.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisLeases } from '../../src/adapters/redis-leases.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';
import type { ReadLeases, RedisTier } from '../../src/core/ports.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisCluster, startRedisCluster } from '../support/servers/redis.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

interface Subject {
  readonly leases: ReadLeases;
  readonly tier: RedisTier;
}

function suite(subject: () => Subject): void {
  const MINUTE_MS = 60_000;
  const acquire = async (key: string, token: string, leaseMs = MINUTE_MS) =>
    (await subject().leases.acquire([key], token, leaseMs))[0];

  it('has one holder at a time, and a new one when it is given back', async () => {
    const key = uniqueName('lease');
    expect(await acquire(key, 'a')).toEqual({ kind: 'acquired' });
    expect(await acquire(key, 'b')).toEqual({ kind: 'held' });
    expect(await subject().leases.look(key)).toEqual({ kind: 'held' });
    await subject().leases.release(key, 'a', { kind: 'free' });
    expect(await subject().leases.look(key)).toBeUndefined();
    expect(await acquire(key, 'b')).toEqual({ kind: 'acquired' });
  });

  it('answers each key by itself', async () => {
    const [one, two] = [uniqueName('lease'), uniqueName('lease')];
    await acquire(one, 'a');
    expect(await subject().leases.acquire([one, two], 'b', MINUTE_MS)).toEqual([
      { kind: 'held' },
      { kind: 'acquired' },
    ]);
  });

  it('is given back and renewed by its holder only', async () => {
    const key = uniqueName('lease');
    await acquire(key, 'a');
    await subject().leases.release(key, 'b', { kind: 'free' });
    await subject().leases.renew([key], 'b', 1);
    expect(await acquire(key, 'c')).toEqual({ kind: 'held' });
  });

  it('ends by itself, unless it is renewed', async () => {
    const [kept, lost] = [uniqueName('lease'), uniqueName('lease')];
    await acquire(kept, 'a', 100);
    await subject().leases.renew([kept], 'a', MINUTE_MS);
    await acquire(lost, 'a', 100);
    await waitFor(async () => (await subject().leases.look(lost)) === undefined, { what: 'its end' });
    expect(await acquire(lost, 'b')).toEqual({ kind: 'acquired' });
    expect(await acquire(kept, 'b')).toEqual({ kind: 'held' });
  });

  it('tells others for a while that there is no record, or what its holder failed with', async () => {
    const [absent, failed] = [uniqueName('lease'), uniqueName('lease')];
    const error = fail('E_FETCH_FAILED', { service: 's', reason: 'status 500', signal: {} });
    await acquire(absent, 'a');
    await acquire(failed, 'a');
    await subject().leases.release(absent, 'a', { kind: 'absent', ttlMs: MINUTE_MS });
    await subject().leases.release(failed, 'a', { kind: 'failed', error, ttlMs: MINUTE_MS });
    expect(await acquire(absent, 'b')).toEqual({ kind: 'absent' });
    expect(await acquire(failed, 'b')).toMatchObject({
      kind: 'failed',
      error: { code: 'E_FETCH_FAILED', message: 'The source of s failed: status 500.' },
    });
    await subject().leases.release(absent, 'b', { kind: 'free' });
    expect(await subject().leases.look(absent)).toEqual({ kind: 'absent' });
  });

  it('a record without a version is put only where neither value nor fence is, and any versioned write replaces it', async () => {
    const { tier } = subject();
    const key = uniqueName('unversioned');
    const write = {
      key,
      op: 'upsert',
      text: 'one',
      version: { kind: 'counter', digits: '1' },
      origin: { stream: 'orders-0', epoch: 0, position: '1' },
      ttlMs: 0,
      fenceTtlMs: 0,
      seen: undefined,
    } as const;
    expect(await tier.fillUnversioned(key, 'filled', MINUTE_MS)).toBe(true);
    expect(await tier.fillUnversioned(key, 'again', MINUTE_MS)).toBe(false);
    const [filled] = await tier.read([key]);
    expect(filled).toMatchObject({ text: 'filled', fence: null });
    expect(filled?.ttlMs).toBeGreaterThan(0);
    expect(await tier.write([write])).toMatchObject([{ kind: 'set' }]);
    expect((await tier.read([key]))[0]).toMatchObject({ text: 'one', ttlMs: -1 });
    await tier.write([{ ...write, op: 'delete', text: '' }]);
    expect(await tier.fillUnversioned(key, 'after the delete', MINUTE_MS)).toBe(false);
    expect(await tier.read([key])).toEqual([null]);
  });
}

describe('leases in memory', () => {
  const clock = systemClock();
  const subject = { leases: createMemoryLeases({ clock }), tier: createMemoryRedisTier({ clock }) };
  suite(() => subject);
});

describeWith(['redis'], 'leases in a Redis Cluster', () => {
  let cluster: RedisCluster;
  let redis: RedisClient;
  beforeAll(async () => {
    cluster = await startRedisCluster(3);
    redis = connectRedis({
      url: cluster.url,
      name: 'test',
      connectTimeoutMs: 5_000,
      commandTimeoutMs: 20_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis Cluster', timeoutMs: 20_000 });
  });
  afterAll(async () => {
    redis.disconnect();
    await cluster.stop();
  });
  suite(() => ({ leases: createRedisLeases({ redis }), tier: createRedisTier({ redis, log: undefined }) }));
});

describeWith(['redis'], 'leases in Redis', () => {
  let redis: RedisClient;
  beforeAll(async () => {
    const { url } = await sharedRedis();
    redis = connectRedis({
      url,
      name: 'test',
      connectTimeoutMs: 5_000,
      commandTimeoutMs: 20_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  });
  afterAll(() => redis.disconnect());
  suite(() => ({ leases: createRedisLeases({ redis }), tier: createRedisTier({ redis, log: undefined }) }));

  it('what another program wrote there counts as held', async () => {
    const key = uniqueName('lease');
    await redis.set(`lease:{${key}}`, 'something else', 'PX', 60_000);
    expect(await createRedisLeases({ redis }).look(key)).toEqual({ kind: 'held' });
  });
});
