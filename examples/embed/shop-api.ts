/**
 * A shop API with Cachewright inside: reads are answered from the local tier, writes become change messages.
 *
 *     node examples/embed/shop-api.ts
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Cachewright, CachewrightError, createCachewright } from 'cachewright';
import config from './cachewright.config.ts';

const SERVICE = 'productInfoService';

export interface ShopApi {
  readonly url: string;
  readonly cachewright: Cachewright;
  close(): Promise<void>;
}

/** Starts Cachewright, then listens on the loopback; port 0: any free one. */
export async function startShopApi(port: number): Promise<ShopApi> {
  const cachewright = createCachewright(config);
  await cachewright.start();
  const server = createServer((request, response) => {
    answer(cachewright, request, response).catch((error: unknown) => {
      const isRejected = error instanceof CachewrightError && error.outcome === 'reject';
      const isTheirs = isRejected || error instanceof SyntaxError;
      send(response, isTheirs ? 400 : 503, { error: error instanceof Error ? error.message : String(error) });
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    cachewright,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await cachewright.close();
    },
  };
}

async function answer(
  cachewright: Cachewright,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const id = /^\/products\/(\d+)$/.exec(request.url ?? '')?.[1];
  if (id === undefined) return send(response, 404, { error: 'there is /products/:id' });
  switch (request.method) {
    case 'GET': {
      const found = await cachewright.get(SERVICE, id);
      if (found === undefined) return send(response, 404, { error: `no product ${id}` });
      response.writeHead(200, { 'content-type': 'application/json', 'x-cache': found.tier }).end(found.text);
      return;
    }
    case 'PUT': {
      const product: unknown = JSON.parse(await text(request));
      return send(response, 202, { message: await cachewright.publish({ serviceId: SERVICE, id, product }) });
    }
    case 'DELETE':
      return send(response, 202, {
        message: await cachewright.publish({ serviceId: SERVICE, id, op: 'delete' }),
      });
    default:
      return send(response, 405, { error: 'GET, PUT or DELETE' });
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

if (process.argv[1] === import.meta.filename) {
  const api = await startShopApi(3000);
  console.log(`products at ${api.url}/products/200`);
  process.once('SIGINT', () => void api.close());
}
