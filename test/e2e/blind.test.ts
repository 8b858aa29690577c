import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CacheReader, createCacheReader } from '../../src/reader.ts';
import { aConfig, inlineServices, postChanges, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedRedis } from '../support/servers/shared.ts';

const BLIND = 'cachewright; fwd=bypass; detail=blind';

/** The invalidation log cannot be read any more; everything else in Redis can. */
const cutTheLog = (cache: RedisServer): Promise<string> =>
  cache.ask('ACL SETUSER default -xread -hmget -xrevrange');

describeWith(['redis'], 'an instance that hears nothing of the changes of others', () => {
  let cache: RedisServer;
  let running: RunningApp;
  let reader: CacheReader;

  beforeAll(async () => {
    cache = await startRedis();
    const { url } = await sharedRedis();
    const local = { blindMs: 500 };
    running = await startApp(
      aConfig(url, { redis: { cache: { url: cache.url } }, local, roles: ['api', 'worker'] }),
    );
    reader = createCacheReader({
      redis: { url: cache.url },
      local,
      services: { stockService: { key: inlineServices.stockService.key } },
    });
    await postChanges(running.url, JSON.stringify({ serviceId: 'stockService', id: 1, version: 7 }));
  });
  afterAll(async () => {
    await reader.close();
    await running.close();
    await cache.stop();
  });

  const get = (path: string): Promise<Response> => fetch(`${running.url}/v1/records/${path}`);
  const getMany = (ids: readonly number[]): Promise<Response> =>
    fetch(`${running.url}/v1/records/stockService`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ids }),
    });
  const said = async (answer: Promise<Response>): Promise<unknown[]> => {
    const { status, headers } = await answer;
    return [status, headers.get('x-cache'), headers.get('cache-status')];
  };
  const caches = async (answer: Response): Promise<unknown[]> =>
    ((await answer.json()) as { records: { cache?: string; error?: { code: string } }[] }).records.map(
      ({ cache: tier, error }) => tier ?? error?.code,
    );
  const untilLocal = (): Promise<unknown> =>
    waitFor(
      async () =>
        (await get('stockService/1')).headers.get('x-cache') === 'local' &&
        (await reader.get('stockService', 1))?.tier === 'local',
      { what: 'the record to be a local hit of both' },
    );

  it('says nothing of it while it hears them', async () => {
    await untilLocal();
    expect(await said(get('stockService/1'))).toEqual([200, 'local', null]);
    expect(await said(get('stockService/2'))).toEqual([404, 'negative', null]);
    expect(await said(getMany([1, 2]))).toEqual([200, null, null]);
    expect(await reader.get('stockService', 1)).toMatchObject({ tier: 'local', isBlind: false });
    expect(reader.isBlind()).toBe(false);
  });

  it('asks Redis for everything, and says so in each answer, of a record, of many and of none', async () => {
    expect(await cutTheLog(cache)).toContain('+OK');
    await waitFor(() => running.app.parts.coherence.state() === 'blind' && reader.isBlind(), {
      what: 'both to be blind',
    });
    expect(await said(get('stockService/1'))).toEqual([200, 'redis', BLIND]);
    expect(await said(get('stockService/2'))).toEqual([404, 'negative', BLIND]);
    const many = await getMany([1, 2]);
    expect(many.headers.get('cache-status')).toBe(BLIND);
    expect(await caches(many)).toEqual(['redis', 'negative']);
    expect(await said(getMany([2]))).toEqual([200, null, BLIND]);
    const known = await get('stockService/1');
    const unchanged = await fetch(known.url, {
      headers: { 'if-none-match': known.headers.get('etag') ?? '' },
    });
    expect([unchanged.status, unchanged.headers.get('cache-status')]).toEqual([304, BLIND]);
    expect(await reader.get('stockService', 1)).toMatchObject({ tier: 'redis', isBlind: true });
    const [found, absent] = await reader.getMany('stockService', [1, 2]);
    expect([found?.isBlind, absent]).toEqual([true, undefined]);
  });

  it('says so too when Redis is gone: what it still has is stale, and what it has not is a problem', async () => {
    await cache.kill();
    expect(await said(get('stockService/1'))).toEqual([200, 'stale', BLIND]);
    expect(await said(get('stockService/2'))).toEqual([503, null, BLIND]);
    const many = await getMany([1, 2]);
    expect(many.headers.get('cache-status')).toBe(BLIND);
    expect(await caches(many)).toEqual(['stale', 'E_REDIS_READ']);
    expect(await reader.get('stockService', 1)).toMatchObject({ tier: 'stale', isBlind: true });
    await expect(reader.get('stockService', 2)).rejects.toMatchObject({ code: 'E_REDIS_READ' });
    expect(reader.isBlind()).toBe(true);
  });

  it('is as before when Redis is back, and its log with it', async () => {
    await cache.restart();
    await waitFor(() => running.app.parts.coherence.state() === 'fresh' && !reader.isBlind(), {
      what: 'both to hear again',
    });
    // Redis kept nothing: the change is made once more.
    await postChanges(running.url, JSON.stringify({ serviceId: 'stockService', id: 1, version: 8 }));
    await untilLocal();
    expect(await said(get('stockService/1'))).toEqual([200, 'local', null]);
  });
});
