import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { SHOP_KEYS } from './check.ts';

/** What every shop's record says its version is. */
export const SHOP_VERSION = 7;

/** Limits the product is told; a trial checks that the source never saw more. */
export const SHOP_LIMITS = { concurrency: 8, perSecond: 500 } as const;

/** A source of `count` shops that answers in 20 ms, in this process. */
export async function startShops(count: number): Promise<HttpSource> {
  const source = await startHttpSource({ latencyMs: 20 });
  for (let id = 1; id <= count; id += 1) {
    source.put(String(id), { id, version: SHOP_VERSION, name: `shop ${id}`, address: 'x'.repeat(220) });
  }
  return source;
}

/** The service of thin messages that reads from such a source. */
export function shopService(source: HttpSource): object {
  return {
    key: `${SHOP_KEYS.prefix}{id}`,
    version: { from: 'record', field: SHOP_KEYS.field, kind: 'counter' },
    source: {
      type: 'http',
      url: `${source.url}/shops/{id}`,
      timeoutMs: 2_000,
      batch: { url: `${source.url}/shops?ids={ids}`, maxIds: 100, items: '/data', id: '/id' },
      limits: SHOP_LIMITS,
    },
  };
}
