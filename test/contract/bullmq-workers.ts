/** The real queue and its workers; each worker has connections of its own, which can be cut. */
import { createClosingScript } from '../../src/adapters/bullmq-closing-script.ts';
import { queueKeys } from '../../src/adapters/bullmq-keys.ts';
import { createChunkQueue } from '../../src/adapters/bullmq-queue.ts';
import { createChunkWorker } from '../../src/adapters/bullmq-worker.ts';
import {
  connectRedis,
  connectRedisForWorker,
  type RedisClient,
  waitForRedis,
} from '../../src/adapters/redis-connection.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Settlement } from '../../src/core/dead-letter.ts';
import type { DeadLetter, ExecutionHandler } from '../../src/core/ports.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { waitFor } from '../support/servers/process.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';
import {
  type FleetWorld,
  KEPT,
  lettersOf,
  settledOf,
  type WorkerSettings,
  type WorkerUnderTest,
} from './chunk-worker-fleet.ts';

const QUEUE = 'changes';

const connection = {
  connectTimeoutMs: 2_000,
  commandTimeoutMs: 10_000,
  onError: () => undefined,
};

export async function bullmqWorkers(): Promise<FleetWorld> {
  const { url, port } = await sharedRedis();
  const redis = connectRedis({ ...connection, url, name: 'test' });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
  const prefix = `{${uniqueName('workers')}}`;
  const keys = queueKeys(prefix, QUEUE);
  const script = createClosingScript(redis, keys);
  const queue = createChunkQueue({
    redis,
    prefix,
    name: QUEUE,
    keep: { count: KEPT, ageMs: 3_600_000 },
    log: silentLog,
  });
  const clock = systemClock();
  const ends: (() => Promise<void>)[] = [];
  const outbox = async (stream: string): Promise<string[]> =>
    (await redis.xrange(stream, '-', '+')).map(([, fields]) => fields[1] ?? '');
  const dead = async (): Promise<(DeadLetter | Settlement)[]> =>
    (await outbox(keys.deadOutbox)).map((json) => JSON.parse(json) as DeadLetter | Settlement);

  return {
    clock,
    enqueue: (chunks) => queue.enqueue(chunks),
    async startWorker(settings, handler) {
      const proxy = await startProxy(port);
      const started = await startReal(proxy, settings, handler);
      ends.push(async () => {
        started.disconnect();
        await proxy.stop();
      });
      return started;
    },
    expireLock: async (job) => void (await redis.del(keys.lock(job))),
    left: (job) => script.left(job),
    audit: () => outbox(keys.auditOutbox),
    letters: async () => lettersOf(await dead()),
    settled: async () => settledOf(await dead()),
    until: async (what, condition) =>
      void (await waitFor(condition, { what, timeoutMs: 60_000, everyMs: 10 })),
    async close() {
      for (const end of ends) await end();
      await queue.close();
      redis.disconnect();
    },
  };

  async function startReal(
    proxy: Proxy,
    { name = 'worker', concurrency = 1, lockMs = 60_000, stalledIntervalMs = 100 }: WorkerSettings,
    handler: ExecutionHandler,
  ): Promise<WorkerUnderTest & { disconnect(): void }> {
    const through = { ...connection, url: `redis://127.0.0.1:${proxy.port}`, name };
    const clients: readonly [RedisClient, RedisClient] = [
      connectRedis(through),
      connectRedisForWorker(through),
    ];
    const [scripts, blocking] = clients;
    await waitForRedis(scripts, { what: 'Redis', timeoutMs: 10_000 });
    const worker = createChunkWorker(
      {
        connection: blocking,
        scripts,
        queue: QUEUE,
        prefix,
        name,
        concurrency,
        lockMs,
        stalledIntervalMs,
        sweepMs: 60_000,
        enqueue: (chunks) => queue.enqueue(chunks),
        clock,
        log: silentLog,
      },
      handler,
    );
    await worker.start();
    let connections = 0;
    return {
      close: (graceMs) => worker.close(graceMs),
      cutOff() {
        connections = proxy.connections();
        proxy.refuse();
      },
      async comeBack() {
        proxy.unblock();
        // BullMQ's `close` hangs while a connection of it is about to be tried again (bullmq#4656).
        await waitFor(() => proxy.connections() >= connections, {
          what: 'its connections',
          timeoutMs: 60_000,
        });
      },
      disconnect() {
        for (const client of clients) client.disconnect();
      },
    };
  }
}
