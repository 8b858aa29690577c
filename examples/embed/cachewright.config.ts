import { defineConfig } from 'cachewright';

/** Without Kafka and without an API of its own: changes come from the program, and the program answers. */
export default defineConfig({
  roles: ['worker'],
  local: { maxEntries: 10_000, ttlMs: '5m' },
  log: { messages: 'failures', format: 'pretty' },
  services: {
    productInfoService: {
      source: { type: 'inline' },
      key: 'product_info_{id}',
      version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
    },
  },
});
