/**
 * A shop API that reads through Cachewright: from the memory of this process, else from Redis, else from its database. It
 * loads no Kafka, no queue and no HTTP server of Cachewright's; `cachewright start` beside it keeps the caches right.
 *
 *     node examples/embed/shop-api.ts
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CacheReader, CachewrightError, createCacheReader } from 'cachewright/reader';
import config, { products } from './cachewright.config.ts';

const SERVICE = 'productInfoService';

export interface ShopApi {
  readonly url: string;
  readonly reader: CacheReader;
  close(): Promise<void>;
}

/** Listens on the loopback; port 0: any free one. */
export async function startShopApi(
  port: number,
  redisUrl = process.env['CACHEWRIGHT_REDIS_URL'] ?? 'redis://127.0.0.1:6379',
): Promise<ShopApi> {
  const reader = createCacheReader({
    redis: { url: redisUrl },
    local: { maxEntries: 10_000, ttlMs: '5m' },
    services: config.services ?? {},
  });
  const server = createServer((request, response) => {
    answer(reader, request, response).catch((error: unknown) => {
      const isTheirs = error instanceof CachewrightError && error.outcome === 'reject';
      send(response, isTheirs ? 400 : 503, { error: error instanceof Error ? error.message : String(error) });
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    reader,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await reader.close();
    },
  };
}

/** `GET /products/200`, and `GET /products?ids=200,201` for a page of them. */
async function answer(
  reader: CacheReader,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://shop');
  const id = /^\/products\/([^/]+)$/.exec(url.pathname)?.[1];
  if (id !== undefined) {
    const found = await reader.get(SERVICE, decodeURIComponent(id));
    if (found === undefined) return send(response, 404, { error: `no product ${id}` });
    response.writeHead(200, { 'content-type': 'application/json', 'x-cache': found.tier }).end(found.text);
    return;
  }
  if (url.pathname === '/products') {
    const ids = (url.searchParams.get('ids') ?? '').split(',').filter(Boolean);
    const found = await reader.getMany(SERVICE, ids);
    return send(
      response,
      200,
      found.map((record) => record?.value ?? null),
    );
  }
  return send(response, 404, { error: 'there is /products/:id and /products?ids=…' });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

if (process.argv[1] === import.meta.filename) {
  products.set('200', { id: 200, version: 1, name: 'iphone7', price: 5599 });
  const api = await startShopApi(3000);
  console.log(`products at ${api.url}/products/200`);
  process.once('SIGINT', () => void api.close());
}
