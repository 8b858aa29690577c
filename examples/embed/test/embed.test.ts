import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MessageEvent } from 'cachewright';
import { type ShopApi, startShopApi } from '../shop-api.ts';

/** Sends a request and waits until the message it made has come to its end. */
async function change(api: ShopApi, method: string, body?: string): Promise<MessageEvent> {
  const { promise: ended, resolve } = Promise.withResolvers<MessageEvent>();
  const stop = api.cachewright.on('message', resolve);
  const response = await fetch(`${api.url}/products/200`, { method, ...(body !== undefined && { body }) });
  assert.equal(response.status, 202, await response.text());
  const event = await ended;
  stop();
  return event;
}

await test('the shop API', async (t) => {
  const api = await startShopApi(0);
  t.after(() => api.close());

  await t.test('answers a product that was put from memory', async () => {
    const put = await change(api, 'PUT', '{"name":"iphone7","price":5599}');
    assert.equal(put.state, 'redisCached');
    const read = await fetch(`${api.url}/products/200`);
    assert.equal(read.headers.get('x-cache'), 'local');
    assert.match(await read.text(), /"product":\{"name":"iphone7","price":5599\}/);
  });

  await t.test('knows nothing of a product after its delete', async () => {
    const gone = await change(api, 'DELETE');
    assert.equal(gone.state, 'evicted');
    assert.equal((await fetch(`${api.url}/products/200`)).status, 404);
  });

  await t.test('refuses what is no JSON at once', async () => {
    const response = await fetch(`${api.url}/products/200`, { method: 'PUT', body: '{' });
    assert.equal(response.status, 400);
  });
});
