import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { MessageEvent } from 'cachewright';
import { type ShopApi, startShopApi } from '../shop-api.ts';

let api: ShopApi;

before(async () => {
  api = await startShopApi(0);
});
after(() => api.close());

/** Sends a request and waits until the message it made has come to its end. */
async function change(method: string, path: string, body?: string): Promise<MessageEvent> {
  const { promise: ended, resolve } = Promise.withResolvers<MessageEvent>();
  const stop = api.cachewright.on('message', resolve);
  const response = await fetch(`${api.url}${path}`, { method, ...(body !== undefined && { body }) });
  assert.equal(response.status, 202, await response.text());
  const event = await ended;
  stop();
  return event;
}

await test('a product that was put is read from memory, and gone after its delete', async () => {
  const put = await change('PUT', '/products/200', '{"name":"iphone7","price":5599}');
  assert.equal(put.state, 'redisCached');
  const read = await fetch(`${api.url}/products/200`);
  assert.equal(read.headers.get('x-cache'), 'local');
  assert.match(await read.text(), /"product":\{"name":"iphone7","price":5599\}/);
  const gone = await change('DELETE', '/products/200');
  assert.equal(gone.state, 'evicted');
  assert.equal((await fetch(`${api.url}/products/200`)).status, 404);
});

await test('what is no JSON is refused at once', async () => {
  const response = await fetch(`${api.url}/products/200`, { method: 'PUT', body: '{' });
  assert.equal(response.status, 400);
});
