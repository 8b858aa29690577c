import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { createCachewright, type MessageEvent } from 'cachewright';
import config, { products } from '../cachewright.config.ts';
import { startShopApi } from '../shop-api.ts';

await test('the shop API', async (t) => {
  // In production another process: `cachewright start`, with this configuration and the topic of the shop's changes.
  const worker = createCachewright(config);
  await worker.start();
  t.after(() => worker.close());
  const api = await startShopApi(0);
  t.after(() => api.close());

  const get = async (path: string): Promise<{ status: number; cache: string | null; body: unknown }> => {
    const response = await fetch(`${api.url}${path}`);
    return { status: response.status, cache: response.headers.get('x-cache'), body: await response.json() };
  };
  /** Sends a change message and waits until it has come to its end. */
  const change = async (message: object): Promise<string> => {
    const { promise: ended, resolve } = Promise.withResolvers<MessageEvent>();
    const stop = worker.on('message', resolve);
    await worker.publish({ serviceId: 'productInfoService', ...message });
    const { state } = await ended;
    stop();
    return state;
  };

  await t.test('reads a product from its database once, then from memory', async () => {
    const iphone = { id: 200, version: 1, name: 'iphone7', price: 5599 };
    products.set('200', iphone);
    assert.deepEqual(await get('/products/200'), { status: 200, cache: 'source', body: iphone });
    assert.deepEqual(await get('/products/200'), { status: 200, cache: 'local', body: iphone });
  });

  await t.test('finds in Redis what a change message brought', async () => {
    products.set('201', { id: 201, version: 1, name: 'cover', price: 19 });
    assert.equal(await change({ id: 201 }), 'redisCached');
    const { cache, body } = await get('/products/201');
    assert.deepEqual([cache, body], ['redis', products.get('201')]);
  });

  await t.test('follows a change of what it holds, long before its time to live', async () => {
    const cheaper = { id: 200, version: 2, name: 'iphone7', price: 5299 };
    products.set('200', cheaper);
    assert.equal(await change({ id: 200 }), 'redisCached');
    const untilMs = Date.now() + 30_000;
    let found = await get('/products/200');
    while (!isDeepStrictEqual(found.body, cheaper) && Date.now() < untilMs)
      found = await get('/products/200');
    assert.deepEqual(found.body, cheaper);
  });

  await t.test('answers many at once, and says which are not there', async () => {
    const { body } = await get('/products?ids=200,404,201');
    assert.deepEqual(body, [products.get('200'), null, products.get('201')]);
    assert.equal((await get('/products/404')).status, 404);
  });

  await t.test('does not bring back what was deleted', async () => {
    products.set('202', { id: 202, version: 1, name: 'cable', price: 9 });
    assert.equal(await change({ id: 202, op: 'delete', version: 1 }), 'evicted');
    assert.equal((await get('/products/202')).status, 404);
  });
});
