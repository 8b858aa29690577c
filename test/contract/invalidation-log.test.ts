import { invalidationLogSuite, type LogUnderTest } from './invalidation-log-suite.ts';
import { describeWith } from '../support/needs.ts';
import { startRedis, startRedisCluster } from '../support/servers/redis.ts';
import {
  createMemoryInvalidationLog,
  createMemoryStream,
} from '../../src/adapters/memory-invalidation-log.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import { connectRedis, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisInvalidationLog } from '../../src/adapters/redis-invalidation-log.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { systemClock } from '../../src/core/clock.ts';

const maxKeys = 1_000;
const writer = { writer: 'instance-a', maxKeys };

async function logAt(url: string, stop: () => Promise<unknown>): Promise<LogUnderTest> {
  const connected = async (name: string) => {
    const redis = connectRedis({
      url,
      name,
      connectTimeoutMs: 5_000,
      commandTimeoutMs: 40_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
    return redis;
  };
  const [redis, blocking] = await Promise.all([connected('tier'), connected('log')]);
  const log = createRedisInvalidationLog(blocking, writer);
  return {
    tier: createRedisTier({ redis, log: writer }),
    log,
    maxKeys,
    async close() {
      await log.close();
      redis.disconnect();
      await stop();
    },
  };
}

invalidationLogSuite('in memory', async () => {
  const clock = systemClock();
  const stream = createMemoryStream();
  const log = createMemoryInvalidationLog(stream, writer, clock);
  return {
    tier: createMemoryRedisTier({ clock, log: { stream, by: writer } }),
    log,
    maxKeys,
    close: () => log.close(),
  };
});

describeWith(['redis'], 'on real servers', () => {
  invalidationLogSuite('of a single Redis', async () => {
    const server = await startRedis();
    return logAt(server.url, () => server.stop());
  });

  invalidationLogSuite('of a Redis Cluster', async () => {
    const cluster = await startRedisCluster(3);
    const hosts = cluster.hosts.map(({ host, port }) => `${host}:${port}`).join(',');
    return logAt(`redis+cluster://${hosts}`, () => cluster.stop());
  });
});
