import { beforeAll, expect, it } from 'vitest';
import { fail } from '../../src/core/errors.ts';
import type { TierWrite } from '../../src/core/ports.ts';
import { describeWith } from '../support/needs.ts';
import {
  aReadService,
  createBarrier,
  createTestSource,
  type Instance,
  startInstance,
  type TestSource,
} from '../support/readers.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';
import { entryOf } from '../support/tier-entries.ts';

const text = (version: number): string => JSON.stringify({ id: 1, version });

/** A change message's write, as the worker of any instance makes it. */
function change(key: string, version: number | null, op: TierWrite['op'] = 'upsert'): TierWrite {
  return {
    key,
    op,
    text: op === 'upsert' && version !== null ? text(version) : '',
    version: version === null ? null : { kind: 'counter', digits: String(version) },
    origin: { stream: 'shop-changes-0', epoch: 0, position: String(version ?? 99) },
    ttlMs: 0,
    fenceTtlMs: 0,
    seen: version === null ? null : undefined,
  };
}

describeWith(['redis'], 'a reader in a race', () => {
  let url: string;
  let prefix: string;
  let source: TestSource;
  beforeAll(async () => {
    ({ url } = await sharedRedis());
  });
  const begin = (): void => {
    prefix = uniqueName('race');
    source = createTestSource();
    source.records.set('1', text(1));
  };
  const localText = async ({ localTier }: Instance): Promise<string | undefined> =>
    (await localTier.get(`${prefix}:1`))?.text;
  const redisText = async ({ redisTier }: Instance): Promise<string | undefined> =>
    (await redisTier.read([`${prefix}:1`]))[0]?.text;

  it.each([
    ['a newer write of this instance', 'own'],
    ['a newer write of another instance', 'other'],
    ['a delete of this instance that knows no version', 'delete'],
  ])('that is paused between its read of Redis and its local set keeps nothing old: %s', async (_, what) => {
    begin();
    const key = `${prefix}:1`;
    const barrier = createBarrier();
    const instance = await startInstance(url, {
      wrap: (tier) => ({
        async read(keys) {
          const found = await tier.read(keys);
          await barrier.pass();
          return found;
        },
      }),
    });
    await instance.redisTier.write([change(key, 1)]);
    const reading = instance.reader.get(aReadService(prefix, source), '1');
    await barrier.reached;
    if (what === 'delete') {
      const [seen = null] = await instance.redisTier.fences([key]);
      await instance.redisTier.write([{ ...change(key, null, 'delete'), seen }]);
      instance.localTier.evict(key, null);
    } else {
      await instance.redisTier.write([change(key, 2)]);
      // What the follower of the invalidation log does, or the worker's own store.
      if (what === 'other') instance.generations.bump(key);
      else {
        const entry = entryOf(key, '2', { storedMs: Date.now() });
        await instance.localTier.stage([entry], 'worker');
        instance.localTier.promote([entry], 'worker');
      }
    }
    barrier.open();
    expect((await reading)?.text).toBe(text(1)); // it began before the change
    expect(await localText(instance)).toBe(what === 'own' ? 'text 2' : undefined);
  });

  it.each([
    ['a newer write', (key: string) => change(key, 2), text(2)],
    ['a delete of the same version', (key: string) => change(key, 1, 'delete'), undefined],
    ['a tombstone of a higher version', (key: string) => change(key, 5, 'delete'), undefined],
  ])('whose fill of Redis is paused while %s arrives puts nothing old', async (_, arrives, left) => {
    begin();
    const barrier = createBarrier();
    const instance = await startInstance(url, {
      wrap: (tier) => ({
        async write(writes) {
          await barrier.pass();
          return tier.write(writes);
        },
      }),
    });
    const reading = instance.reader.get(aReadService(prefix, source), '1');
    await barrier.reached;
    const [result] = await instance.redisTier.write([arrives(`${prefix}:1`)]);
    expect(['set', 'evicted']).toContain(result?.kind);
    barrier.open();
    expect((await reading)?.text).toBe(left);
    expect(await redisText(instance)).toBe(left);
    expect(await localText(instance)).toBe(left);
  });

  it('asks its source again when a delete without a version arrived while it was asked', async () => {
    begin();
    source.before = createBarrier();
    const instance = await startInstance(url);
    const reading = instance.reader.get(aReadService(prefix, source), '1');
    await source.before.reached;
    source.records.delete('1');
    await instance.redisTier.write([change(`${prefix}:1`, null, 'delete')]);
    source.before.open();
    expect(await reading).toBeUndefined();
    expect(source.fetched).toEqual(['1', '1']);
    expect(await redisText(instance)).toBeUndefined();
  });

  it('that asks after a change is not given what another began to read before it', async () => {
    begin();
    const key = `${prefix}:1`;
    source.before = createBarrier();
    const instance = await startInstance(url);
    const service = aReadService(prefix, source);
    const early = instance.reader.get(service, '1');
    await source.before.reached;
    await instance.redisTier.write([change(key, 2)]);
    instance.generations.bump(key);
    const late = await instance.reader.get(service, '1');
    expect(late).toMatchObject({ text: text(2), tier: 'redis' });
    source.before.open();
    expect((await early)?.text).toBe(text(2)); // the fence told that there is a newer one
    expect(await localText(instance)).toBe(text(2));
  });

  it('a thousand reads of one cold key on four instances ask the source once', async () => {
    begin();
    const instances = await Promise.all([1, 2, 3, 4].map(() => startInstance(url)));
    const service = aReadService(prefix, source);
    const found = await Promise.all(
      Array.from({ length: 1_000 }, async (_, index) => instances[index % 4]?.reader.get(service, '1')),
    );
    expect(source.fetched).toEqual(['1']);
    expect(new Set(found.map((record) => record?.text))).toEqual(new Set([text(1)]));
    expect(await Promise.all(instances.map(localText))).toEqual([1, 2, 3, 4].map(() => text(1)));
  });

  it('a thousand reads of a failing source on four instances ask it once, and all are told why', async () => {
    begin();
    source.failure = {
      kind: 'failed',
      error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'status 500' }),
    };
    source.before = createBarrier();
    const instances = await Promise.all([1, 2, 3, 4].map(() => startInstance(url, { failureMs: 60_000 })));
    const service = aReadService(prefix, source);
    const reads = Array.from({ length: 1_000 }, async (_, index) =>
      instances[index % 4]?.reader.get(service, '1').catch((error: Error) => error.message),
    );
    await source.before.reached;
    source.before.open();
    expect(new Set(await Promise.all(reads))).toEqual(
      new Set(['The source of shopInfoService failed: status 500.']),
    );
    expect(source.fetched).toEqual(['1']);
  });

  it('another instance takes over when the holder of the lease is killed while it asks', async () => {
    begin();
    source.before = createBarrier();
    const holder = await startInstance(url, { leaseMs: 500 });
    const other = await startInstance(url, { leaseMs: 500 });
    const service = aReadService(prefix, source);
    const lost = holder.reader.get(service, '1').catch((error: Error) => error);
    await source.before.reached;
    const waiting = other.reader.get(service, '1');
    // Nothing of a killed process reaches Redis any more: it neither renews its lease nor gives it back.
    holder.redis.disconnect();
    expect(await waiting).toMatchObject({ text: text(1), tier: 'source' });
    expect(source.fetched).toEqual(['1', '1']);
    source.before.open();
    expect(await lost).toBeInstanceOf(Error);
  });

  it('keeps its lease for as long as its source takes', async () => {
    begin();
    source.before = createBarrier();
    const holder = await startInstance(url);
    const reading = holder.reader.get(aReadService(prefix, source), '1');
    await source.before.reached;
    const leaseKey = `lease:{${prefix}:1}`;
    let leftMs = await holder.redis.pttl(leaseKey);
    await waitFor(
      async () => {
        const beforeMs = leftMs;
        leftMs = await holder.redis.pttl(leaseKey);
        return leftMs > beforeMs;
      },
      { what: 'the lease to be renewed' },
    );
    source.before.open();
    await reading;
    expect(await holder.redis.exists(leaseKey)).toBe(0);
  });
});
