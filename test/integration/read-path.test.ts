import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fail } from '../../src/core/errors.ts';
import type { TierWrite } from '../../src/core/ports.ts';
import { byOffset } from '../../src/core/service.ts';
import { describeWith } from '../support/needs.ts';
import {
  aReadService,
  clockWithLeaps,
  createBarrier,
  createTestSource,
  startInstance,
  type TestSource,
} from '../support/readers.ts';
import { waitFor } from '../support/servers/process.ts';
import { startRedis } from '../support/servers/redis.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const text = (version: number): string => JSON.stringify({ version });
const down = {
  kind: 'failed',
  error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'status 500' }),
} as const;

describeWith(['redis'], 'the read path', () => {
  let url: string;
  let prefix: string;
  let source: TestSource;
  beforeAll(async () => {
    ({ url } = await sharedRedis());
  });
  beforeEach(() => {
    prefix = uniqueName('read');
    source = createTestSource();
    source.records.set('1', text(1));
  });
  const write = (version: number, more: Partial<TierWrite> = {}): TierWrite => ({
    key: `${prefix}:1`,
    op: 'upsert',
    text: text(version),
    version: { kind: 'counter', digits: String(version) },
    origin: { stream: 'shop-changes-0', epoch: 0, position: String(version) },
    ttlMs: 0,
    fenceTtlMs: 0,
    seen: undefined,
    ...more,
  });

  it('goes from the source to Redis and the local tier, each asked once', async () => {
    const [one, two] = [await startInstance(url), await startInstance(url)];
    const service = aReadService(prefix, source);
    expect(await one.reader.get(service, '1')).toMatchObject({
      text: text(1),
      tier: 'source',
      version: { kind: 'counter', digits: '1' },
    });
    expect(await one.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'local' });
    expect(await two.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'redis' });
    expect(await two.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'local' });
    expect(source.fetched).toEqual(['1']);
    expect((await two.redisTier.fences([`${prefix}:1`]))[0]).toMatch(/^1\|l\|c\|1\|read:test-/);
  });

  it('reads many at once: one call of the source, an outcome for each', async () => {
    const instance = await startInstance(url);
    source.records.set('2', text(2)).set('bad', 'no JSON');
    await instance.redisTier.write([write(7)]);
    const service = aReadService(prefix, source, {
      keyOf: (id) => {
        if (id === '') throw fail('E_KEY_INVALID', { id, reason: 'the id is empty' });
        return `${prefix}:${id}`;
      },
    });
    const outcomes = await instance.reader.getMany(service, ['1', '2', '', 'none', 'bad', '2']);
    expect(outcomes).toMatchObject([
      { kind: 'found', record: { text: text(7), tier: 'redis' } },
      { kind: 'found', record: { text: text(2), tier: 'source' } },
      { kind: 'failed', error: { code: 'E_KEY_INVALID' } },
      { kind: 'absent' },
      { kind: 'failed', error: { code: 'E_RECORD_INVALID' } },
      { kind: 'found', record: { text: text(2), tier: 'source' } },
    ]);
    expect(source.fetched).toEqual(['2', 'none', 'bad']);
    expect((await instance.reader.getMany(service, ['1', '2'])).map((each) => each.kind)).toEqual([
      'found',
      'found',
    ]);
  });

  it('leaves the source alone where the service says so', async () => {
    const instance = await startInstance(url);
    const service = aReadService(prefix, source, { read: { fromSource: false } });
    expect(await instance.reader.get(service, '1')).toBeUndefined();
    expect(source.fetched).toEqual([]);
  });

  describe('an absent record', () => {
    it('is remembered for a while by all instances, until any version of it comes', async () => {
      const [one, two] = [await startInstance(url), await startInstance(url)];
      const service = aReadService(prefix, source, { read: { negativeTtlMs: 60_000 } });
      source.records.clear();
      for (const instance of [one, one, two, two]) {
        expect(await instance.reader.get(service, '1')).toBeUndefined();
      }
      expect(source.fetched).toEqual(['1']);
      await one.redisTier.write([write(1)]);
      for (const { generations } of [one, two]) generations.bump(`${prefix}:1`);
      for (const instance of [one, two]) {
        expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'redis' });
      }
    });

    it('is looked for again after its time', async () => {
      const clock = clockWithLeaps();
      const instance = await startInstance(url, { clock });
      const service = aReadService(prefix, source, { read: { negativeTtlMs: 1_000 } });
      source.records.clear();
      expect(await instance.reader.get(service, '1')).toBeUndefined();
      source.records.set('1', text(1));
      clock.leap(2_000);
      await instance.redis.del(`lease:{${prefix}:1}`); // its time in Redis passes by Redis' own clock
      expect(await instance.reader.get(service, '1')).toMatchObject({ tier: 'source' });
    });

    it('leaves no trace in Redis but its lease, which ends by itself', async () => {
      const instance = await startInstance(url);
      source.records.clear();
      await instance.reader.get(aReadService(prefix, source), '1');
      expect(await instance.redisTier.fences([`${prefix}:1`])).toEqual([null]);
      expect(await instance.redis.pttl(`lease:{${prefix}:1}`)).toBeGreaterThan(0);
    });
  });

  describe('a local entry whose time to live is over', () => {
    const later = async (read: Parameters<typeof aReadService>[2]) => {
      const clock = clockWithLeaps();
      const instance = await startInstance(url, { clock, failureMs: 1 });
      const service = aReadService(prefix, source, read);
      await instance.reader.get(service, '1');
      clock.leap(61_000);
      await instance.redis.del(`${prefix}:1`);
      return { instance, service, clock };
    };

    it('answers as stale while it is read again, then the new one does', async () => {
      const { instance, service } = await later({ read: { staleWhileRevalidateMs: 60_000 } });
      source.records.set('1', text(2));
      source.before = createBarrier();
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'stale' });
      await source.before.reached;
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'stale' });
      source.before.open();
      const fresh = await waitFor(
        async () => {
          const record = await instance.reader.get(service, '1');
          return record?.tier === 'local' ? record : undefined;
        },
        { what: 'the new record' },
      );
      expect(fresh.text).toBe(text(2));
      expect(source.fetched).toEqual(['1', '1']);
    });

    it('answers as stale when its source is down, as long as that is allowed', async () => {
      const { instance, service, clock } = await later({ read: { failSafeMs: 60_000 } });
      source.failure = down;
      const record = await instance.reader.get(service, '1');
      expect(record).toMatchObject({ text: text(1), tier: 'stale' });
      expect(record?.ageMs).toBeGreaterThanOrEqual(61_000);
      clock.leap(60_000);
      await expect(instance.reader.get(service, '1')).rejects.toMatchObject({ code: 'E_FETCH_FAILED' });
    });

    it('does not answer when nothing allows it', async () => {
      const { instance, service } = await later({});
      source.failure = down;
      await expect(instance.reader.get(service, '1')).rejects.toMatchObject({ code: 'E_FETCH_FAILED' });
    });

    it('is gone for good when its record is', async () => {
      const { instance, service } = await later({ read: { failSafeMs: 60_000, negativeTtlMs: 0 } });
      source.records.clear();
      expect(await instance.reader.get(service, '1')).toBeUndefined();
      source.failure = down;
      await expect(instance.reader.get(service, '1')).rejects.toMatchObject({ code: 'E_FETCH_FAILED' });
    });
  });

  describe('while Redis is away', () => {
    it('a fresh local entry answers, a blind instance says that it is stale, and the source is left alone', async () => {
      const redis = await startRedis();
      try {
        const instance = await startInstance(redis.url);
        const service = aReadService(prefix, source);
        await instance.reader.get(service, '1');
        await redis.kill();
        await waitFor(() => instance.redis.status !== 'ready', { what: 'the connection to be lost' });
        expect(await instance.reader.get(service, '1')).toMatchObject({ tier: 'local' });
        instance.state = 'blind';
        expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'stale' });
        await expect(instance.reader.get(service, '2')).rejects.toMatchObject({ code: 'E_REDIS_READ' });
        expect(source.fetched).toEqual(['1']);
      } finally {
        await redis.stop();
      }
    });

    it('a blind instance whose Redis answers asks it each time', async () => {
      const instance = await startInstance(url);
      const service = aReadService(prefix, source);
      await instance.reader.get(service, '1');
      instance.state = 'blind';
      await instance.redisTier.write([write(2)]);
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(2), tier: 'redis' });
    });
  });

  describe('a tombstone', () => {
    it('holds against a fill of its version, and gives way to a higher one', async () => {
      const instance = await startInstance(url);
      const service = aReadService(prefix, source, { read: { negativeTtlMs: 0 } });
      await instance.redisTier.write([write(1, { op: 'delete', text: '' })]);
      expect(await instance.reader.get(service, '1')).toBeUndefined();
      source.records.set('1', text(2));
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(2), tier: 'source' });
    });

    it('holds against every fill whose version nobody knows, and the source is not asked', async () => {
      const instance = await startInstance(url);
      const service = aReadService(prefix, source, { version: byOffset });
      const offset = { version: { kind: 'offset', digits: '1' } as const };
      await instance.redisTier.write([write(1, { op: 'delete', text: '', ...offset })]);
      expect(await instance.reader.get(service, '1')).toBeUndefined();
      expect(source.fetched).toEqual([]);
    });
  });

  describe('a service whose versions are not on its records', () => {
    const offset = { version: { kind: 'offset', digits: '1' } as const };

    it('fills a value that expired under the version its fence remembers', async () => {
      const instance = await startInstance(url);
      const service = aReadService(prefix, source, { version: byOffset });
      await instance.redisTier.write([write(1, offset)]);
      const [fence] = await instance.redisTier.fences([`${prefix}:1`]);
      await instance.redis.del(`${prefix}:1`);
      expect(await instance.reader.get(service, '1')).toMatchObject({
        tier: 'source',
        version: offset.version,
      });
      expect(await instance.redisTier.fences([`${prefix}:1`])).toEqual([fence]);
      expect(await instance.reader.get(service, '1')).toMatchObject({ tier: 'local' });
    });

    it('keeps a record of unknown version for a short while, until any versioned write', async () => {
      const instance = await startInstance(url);
      const service = aReadService(prefix, source, { version: byOffset });
      const found = await instance.reader.get(service, '1');
      expect(found).toMatchObject({ text: text(1), tier: 'source' });
      expect(found?.version).toBeUndefined();
      expect(await instance.redis.pttl(`${prefix}:1`)).toBeLessThanOrEqual(30_000);
      expect(await instance.redis.pttl(`${prefix}:1`)).toBeGreaterThan(0);
      expect(await instance.redisTier.fences([`${prefix}:1`])).toEqual([null]);
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(1), tier: 'redis' });
      expect((await instance.redisTier.write([write(0, offset)]))[0]).toMatchObject({ kind: 'set' });
      expect(await instance.reader.get(service, '1')).toMatchObject({ text: text(0), tier: 'redis' });
      expect(await instance.redis.pttl(`${prefix}:1`)).toBe(-1);
    });

    it('leaves a write that came meanwhile as it is', async () => {
      source.before = createBarrier();
      const instance = await startInstance(url);
      const reading = instance.reader.get(aReadService(prefix, source, { version: byOffset }), '1');
      await source.before.reached;
      await instance.redisTier.write([write(3, offset)]);
      source.before.open();
      expect(await reading).toMatchObject({ text: text(3), tier: 'redis' });
    });
  });

  it('does not serve what is older than what the fence remembers', async () => {
    const instance = await startInstance(url);
    await instance.redisTier.write([write(5)]);
    await instance.redis.del(`${prefix}:1`);
    await expect(instance.reader.get(aReadService(prefix, source), '1')).rejects.toMatchObject({
      code: 'E_SOURCE_BEHIND',
    });
  });

  it('gives values a time to live with jitter, and local entries never more', async () => {
    const instance = await startInstance(url);
    const service = aReadService(prefix, source, { ttlMs: 40_000, ttlJitter: 0.5, fenceTtlMs: 3_600_000 });
    await instance.reader.get(service, '1');
    const ttlMs = await instance.redis.pttl(`${prefix}:1`);
    expect(ttlMs).toBeGreaterThan(15_000);
    expect(ttlMs).toBeLessThanOrEqual(40_000);
    expect((await instance.localTier.get(`${prefix}:1`))?.ttlMs).toBeLessThanOrEqual(40_000);
  });
});
