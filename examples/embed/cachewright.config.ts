import { defineConfig, defineSource } from 'cachewright';

export interface Product {
  readonly id: number;
  readonly version: number;
  readonly name: string;
  readonly price: number;
}

/** Stands for the shop's database. */
export const products = new Map<string, Product>();

/** Shared by the API, which reads, and by the process that works on changes. */
export default defineConfig({
  roles: ['worker'],
  log: { messages: 'failures', format: 'pretty' },
  services: {
    productInfoService: {
      source: defineSource({
        fetchMany: async (ids) =>
          new Map(ids.flatMap((id) => (products.has(id) ? [[id, products.get(id)] as const] : []))),
      }),
      key: 'product_info_{id}',
      version: { from: 'record', field: 'version', kind: 'counter' },
      // A minute longer than it is fresh a product still answers, while it is read again or cannot be.
      read: { staleWhileRevalidateMs: '1m', failSafeMs: '1m', negativeTtlMs: '2s' },
    },
  },
});
