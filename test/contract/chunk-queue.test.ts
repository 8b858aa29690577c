import { randomBytes } from 'node:crypto';
import { type Job, Queue } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createChunkQueue } from '../../src/adapters/bullmq-queue.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { openQueueShards, type QueueShards } from '../../src/app/queue-shards.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { chunkOf } from '../../src/core/chunk.ts';
import { type StoredChunk, unpackChunk } from '../../src/core/packed-chunk.ts';
import type { ChunkQueue, QueuedChunk } from '../../src/core/ports.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import {
  type RedisCluster,
  type RedisServer,
  startRedis,
  startRedisCluster,
} from '../support/servers/redis.ts';
import { uniqueName } from '../support/servers/shared.ts';

const aChunk = (id: string, value = 'x'): QueuedChunk => ({
  id,
  name: `cache-message/0 ${id}`,
  data: chunkOf(
    [
      {
        origin: { stream: 'cache-message-0', epoch: 0, position: id },
        timestampMs: 1,
        key: null,
        value,
        headers: [],
      },
    ],
    'm@1',
  ),
});

interface Subject {
  readonly chunks: ChunkQueue;
  /** The oldest first; of several shards one after the other. */
  waiting(): Promise<Job<StoredChunk>[]>;
}

/** What every queue must do: on one Redis, on a cluster, in several shards. */
function chunkQueueSuite(subject: () => Subject): void {
  it('adds chunks as jobs that workers may try for ever and that are never failed away', async () => {
    await subject().chunks.enqueue([aChunk('g.t.0.0.1-1'), aChunk('g.t.0.0.2-2')]);
    const jobs = await subject().waiting();
    expect(jobs.map(({ id, name }) => [id, name])).toEqual([
      ['g.t.0.0.1-1', 'cache-message/0 g.t.0.0.1-1'],
      ['g.t.0.0.2-2', 'cache-message/0 g.t.0.0.2-2'],
    ]);
    expect(jobs[0]?.opts).toMatchObject({
      attempts: 1_000_000,
      backoff: { type: 'custom' },
      removeOnFail: false,
    });
    expect(jobs[0]?.data).toEqual(aChunk('g.t.0.0.1-1').data);
  });

  it('takes the same id once', async () => {
    await subject().chunks.enqueue([aChunk('a.1-1', 'first')]);
    await subject().chunks.enqueue([aChunk('a.1-1', 'second'), aChunk('a.2-2')]);
    const jobs = await subject().waiting();
    expect(jobs.map(({ id, data }) => [id, unpackChunk(data).values[0]])).toEqual([
      ['a.1-1', 'first'],
      ['a.2-2', 'x'],
    ]);
  });

  it('measures jobs and estimates their bytes', async () => {
    expect(await subject().chunks.depth()).toEqual({ jobs: 0, bytes: 0 });
    await subject().chunks.enqueue(
      Array.from({ length: 200 }, (_, index) => aChunk(`a.${index}-${index}`, 'x'.repeat(1_000))),
    );
    const { jobs, bytes } = await subject().chunks.depth();
    expect(jobs).toBe(200);
    expect(bytes).toBeGreaterThan(200 * 1_000);
    expect(bytes).toBeLessThan(200 * 1_300);
  });
}

describeWith(['redis'], 'the producing side of the queue', () => {
  let server: RedisServer;
  let proxy: Proxy;
  let redis: RedisClient;
  let chunks: ChunkQueue;
  let direct: Queue;

  beforeEach(async () => {
    server = await startRedis();
    proxy = await startProxy(server.port);
    redis = connectRedis({
      url: `redis://127.0.0.1:${proxy.port}`,
      name: 'queue',
      connectTimeoutMs: 1_000,
      commandTimeoutMs: 500,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
    chunks = createChunkQueue({ redis, prefix: '{q}', name: 'changes', timeoutMs: 1_000, log: silentLog });
    direct = new Queue('changes', { connection: { host: server.host, port: server.port }, prefix: '{q}' });
    direct.on('error', () => undefined);
  });
  afterEach(async () => {
    await chunks.close();
    redis.disconnect();
    await direct.close();
    await proxy.stop();
    await server.stop();
  });

  /** As the hand-off does: the same ids until Redis says yes. */
  const untilTaken = (wanted: readonly QueuedChunk[]): Promise<true> =>
    waitFor(async () => (await chunks.enqueue(wanted), true as const), { what: 'the queue to take them' });

  chunkQueueSuite(() => ({ chunks, waiting: () => direct.getJobs(['waiting'], 0, -1, true) }));

  it('rejects at once while Redis is away, and works when it is back', async () => {
    proxy.refuse();
    await waitFor(() => redis.status !== 'ready', { what: 'the connection to break' });
    await expect(chunks.enqueue([aChunk('a.1-1')])).rejects.toMatchObject({ code: 'E_ENQUEUE_FAILED' });
    proxy.unblock();
    await untilTaken([aChunk('a.1-1')]);
    expect(await direct.getWaitingCount()).toBe(1);
  });

  it('is not dead for ever when the first thing BullMQ asks Redis is cut off', async () => {
    const wanted = [aChunk('a.1-1')];
    const first = chunks.enqueue(wanted).catch(() => 'cut off');
    proxy.cut();
    expect(await first).toBe('cut off');
    await untilTaken(wanted);
    expect(await direct.getWaitingCount()).toBe(1);
  });

  it('rejects when the answer is lost; the same ids again do no harm', async () => {
    await chunks.enqueue([aChunk('a.0-0')]);
    proxy.dropReplies();
    await expect(chunks.enqueue([aChunk('a.1-1'), aChunk('a.2-2')])).rejects.toMatchObject({
      code: 'E_ENQUEUE_FAILED',
    });
    expect(proxy.droppedBytes()).toBeGreaterThan(0);
    expect(await direct.getWaitingCount()).toBe(3);
    proxy.unblock();
    await untilTaken([aChunk('a.1-1'), aChunk('a.2-2')]);
    expect(await direct.getWaitingCount()).toBe(3);
  });

  it('rejects when Redis is out of memory, whatever part it took, and the same ids complete it', async () => {
    await server.ask('CONFIG SET maxmemory 3mb');
    const many = Array.from({ length: 100 }, (_, index) =>
      aChunk(`a.${index}-${index}`, randomBytes(25_000).toString('hex')),
    );
    await expect(chunks.enqueue(many)).rejects.toMatchObject({ code: 'E_ENQUEUE_FAILED' });
    expect(await direct.getWaitingCount()).toBeLessThan(100);
    await server.ask('CONFIG SET maxmemory 0');
    await chunks.enqueue(many);
    expect(await direct.getWaitingCount()).toBe(100);
  });
});

describeWith(['redis'], 'the producing side of the queue on a Redis Cluster', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster(3);
  });
  afterAll(() => cluster.stop());

  describe.each([1, 3])('in %d shard(s)', (shards) => {
    let redis: RedisClient;
    let queue: QueueShards;
    let direct: Queue[];
    beforeEach(async () => {
      redis = connectRedis({
        url: cluster.url,
        name: 'queue',
        connectTimeoutMs: 5_000,
        commandTimeoutMs: 10_000,
        onError: () => undefined,
      });
      await waitForRedis(redis, { what: 'Redis Cluster', timeoutMs: 20_000 });
      const { config } = resolveConfig({ input: { queue: { prefix: uniqueName('q'), shards } }, env: {} });
      queue = openQueueShards({ config, redis, log: silentLog });
      direct = queue.all().map(({ prefix }) => new Queue('changes', { connection: redis, prefix }));
      for (const each of direct) each.on('error', () => undefined);
    });
    afterEach(async () => {
      await queue.queue.close();
      await Promise.all(direct.map((each) => each.close()));
      redis.disconnect();
    });

    chunkQueueSuite(() => ({
      chunks: queue.queue,
      async waiting() {
        const jobs = await Promise.all(direct.map((each) => each.getJobs(['waiting'], 0, -1, true)));
        return jobs.flat().toSorted((a, b) => String(a.id).localeCompare(String(b.id)));
      },
    }));
  });
});
