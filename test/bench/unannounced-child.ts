/**
 * The product as `cachewright start` runs it, but that its writes are not announced in the invalidation log: what the log
 * costs is the difference. There is no such option: a second instance would serve old records and not know it.
 *
 *     node test/bench/unannounced-child.ts CONFIG.json
 */
import { readFileSync } from 'node:fs';
import { connectRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { createApp } from '../../src/app/app.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { ConfigInput } from '../../src/config/schema.ts';

const input = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as ConfigInput;
const { config } = resolveConfig({ input, env: {} });
// In the place of the connection of the cache, which lies idle.
const redis = connectRedis({
  url: config.redis.cache.url,
  name: 'cachewright-unannounced',
  connectTimeoutMs: 5_000,
  commandTimeoutMs: config.redis.commandTimeoutMs,
  onError: (reason) => console.error(reason),
});
const app = createApp(config, { wraps: { redisTier: () => createRedisTier({ redis, log: undefined }) } });
process.once('SIGTERM', () => {
  void app.close().then(() => process.exit(0));
});
await app.start();
