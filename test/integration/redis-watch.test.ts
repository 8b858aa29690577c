import { EventEmitter } from 'node:events';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import type { CachewrightEvents } from '../../src/app/events.ts';
import { createRedisWatch } from '../../src/app/redis-watch.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { aConfig, idsOf, postChanges, startApp } from '../support/app.ts';
import { rememberingLog } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

describeWith(['redis'], 'the watch over both roles of Redis', () => {
  let servers: Record<'queue' | 'cache', RedisServer>;
  let clients: Record<'queue' | 'cache', RedisClient>;
  const log = rememberingLog();
  const events = new EventEmitter<CachewrightEvents>();
  const alerts: CachewrightEvents['alert'][0][] = [];
  events.on('alert', (alert) => alerts.push(alert));
  let watch: ReturnType<typeof createRedisWatch>;

  const connect = async (url: string): Promise<RedisClient> => {
    const options = { url, name: 'test', connectTimeoutMs: 2_000, commandTimeoutMs: 5_000 };
    const client = connectRedis({ ...options, onError: () => undefined });
    await waitForRedis(client, { what: 'Redis', timeoutMs: 5_000 });
    return client;
  };
  const says = (level: string, words: string) =>
    waitFor(() => log.lines.find((line) => line.level === level && line.message.includes(words)), {
      what: `${level}: ${words}`,
    });

  beforeAll(async () => {
    const [queue, cache] = await Promise.all([
      startRedis({ appendonly: true }),
      startRedis({ policy: 'allkeys-lru' }),
    ]);
    servers = { queue, cache };
    clients = { queue: await connect(queue.url), cache: await connect(cache.url) };
    const input = aConfig(queue.url, { redis: { cache: { url: cache.url } } });
    const { config } = resolveConfig({ input, env: {} });
    watch = createRedisWatch({ config, connections: clients, events, log, everyMs: 20 });
    watch.start();
  });
  beforeEach(() => {
    log.lines.length = 0;
    alerts.length = 0;
  });
  afterAll(async () => {
    watch.close();
    for (const role of ['queue', 'cache'] as const) {
      clients[role].disconnect();
      await servers[role].stop();
    }
  });

  it('tells once of a policy that was changed under it, and once that it is well again', async () => {
    await servers.queue.ask('CONFIG SET maxmemory-policy allkeys-lru');
    await says('error', 'maxmemory-policy allkeys-lru');
    await servers.queue.ask('CONFIG SET maxmemory-policy noeviction');
    await says('info', 'well again');
    expect(alerts).toMatchObject([
      { what: 'redis queue', text: expect.stringContaining('jobs could be evicted') },
    ]);
  });

  it('warns before the memory of the queue is full, and does not mind a full cache that evicts', async () => {
    const used = Number(/used_memory:(\d+)/.exec(await servers.queue.ask('INFO memory'))?.[1]);
    await servers.queue.ask(`CONFIG SET maxmemory ${Math.round(used * 1.05)}`);
    await says('error', '(maxmemory) are in use');
    await servers.queue.ask('CONFIG SET maxmemory 0');
    await says('info', 'well again');
    const cacheUsed = Number(/used_memory:(\d+)/.exec(await servers.cache.ask('INFO memory'))?.[1]);
    await servers.cache.ask(`CONFIG SET maxmemory ${cacheUsed + 200_000}`);
    for (let index = 0; index < 100; index += 1)
      await clients.cache.set(`filler:${index}`, 'x'.repeat(10_000));
    await says('warn', 'evicted values or fences');
    expect(alerts.map(({ what }) => what)).toEqual(['redis queue']);
  });
});

describeWith(['redis'], 'a queue at its bound', () => {
  it('is told before it is reached; then posted changes are refused until there is room', async () => {
    const redis = await startRedis();
    // Nobody works here: what is posted stays.
    const config = aConfig(redis.url, { roles: ['api'], queue: { highWaterJobs: 10, lowWaterJobs: 5 } });
    const running = await startApp(config);
    const post = (id: number): Promise<Response> =>
      postChanges(running.url, JSON.stringify({ serviceId: 'stockService', id, version: 1 }));
    let taken = 0;
    const refusal = await waitFor(
      async () => {
        const response = await post(taken);
        if (response.status !== 202) return response;
        taken += (await idsOf(response)).length;
        return undefined;
      },
      { what: 'the bound to be reached', timeoutMs: 30_000 },
    );
    expect(refusal.status).toBe(503);
    expect(await refusal.json()).toMatchObject({
      title: 'E_QUEUE_FULL',
      detail: expect.stringContaining('queue jobs'),
    });
    expect(await running.openJobs()).toBe(taken);
    const near = running.log.lines.filter(
      ({ level, message }) => level === 'warn' && message.includes('ingest pauses above'),
    );
    expect(near).toMatchObject([{ fields: { gauge: 'queue jobs', high: 10 } }]);

    const worker = await startApp({ ...config, roles: ['worker'] });
    await waitFor(async () => (await post(1_000)).status === 202, {
      what: 'room',
      timeoutMs: 30_000,
      everyMs: 100,
    });
    await worker.close();
    await running.close();
    await redis.stop();
  });
});
