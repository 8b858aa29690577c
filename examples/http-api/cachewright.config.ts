import { defineConfig } from 'cachewright';
import { z } from 'zod';

const api = process.env['SHOPS_URL'] ?? 'http://127.0.0.1:9000';

/** What a shop has to look like before it may enter a cache. Fields that are not named here stay as they are. */
const shop = z.looseObject({
  id: z.int(),
  name: z.string().min(1),
  goodCommentRate: z.number().min(0).max(1),
  version: z.int().nonnegative(),
});

export default defineConfig({
  kafka: { brokers: ['127.0.0.1:9092'], topics: ['shop-changes'], groupId: 'shops' },
  log: { messages: 'all', format: 'pretty' },
  services: {
    shopInfoService: {
      key: 'shop_info_{id}',
      version: { from: 'record', field: 'version', kind: 'counter' },
      record: shop,
      source: {
        type: 'http',
        url: `${api}/shops/{id}`,
        timeoutMs: 2_000,
        headers: { authorization: { env: 'SHOP_TOKEN' } },
        batch: { url: `${api}/shops?ids={ids}`, maxIds: 100, items: '/data', id: '/id' },
        limits: { concurrency: 8, perSecond: 200 },
      },
      retry: { attempts: 5, initialMs: 200 },
    },
  },
});
