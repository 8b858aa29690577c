/**
 * A source to fetch from: `GET /shops/:id`, and `GET /shops?ids=1,2` → `{"data":[…]}`.
 *
 *     node examples/http-api/shops-api.ts
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export const shops = new Map([
  ['300', { id: 300, name: 'Corner', goodCommentRate: 0.99, version: 7 }],
  ['301', { id: 301, name: 'Harbour', goodCommentRate: 0.93, version: 2 }],
]);

/** Listens on the loopback; port 0: any free one. Every request needs the token. */
export async function startShopsApi(options: { readonly port: number; readonly token: string }): Promise<{
  readonly url: string;
  readonly server: Server;
}> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.headers.authorization !== options.token) return answer(401, { error: 'no token' });
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const ids = searchParams.get('ids')?.split(',');
    if (ids !== undefined) return answer(200, { data: ids.flatMap((id) => shops.get(id) ?? []) });
    const shop = shops.get(pathname.replace('/shops/', ''));
    return shop === undefined ? answer(404, { error: 'no such shop' }) : answer(200, shop);
  });
  await new Promise<void>((resolve) => server.listen(options.port, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, server };
}

if (process.argv[1] === import.meta.filename) {
  const { url } = await startShopsApi({ port: 9000, token: process.env['SHOP_TOKEN'] ?? 'secret' });
  console.log(`shops at ${url}/shops/300`);
}
