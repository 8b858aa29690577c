import { randomBytes } from 'node:crypto';
import { Queue } from 'bullmq';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createChunkQueue } from '../../src/adapters/bullmq-queue.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { chunkOf } from '../../src/core/chunk.ts';
import type { ChunkQueue, QueuedChunk } from '../../src/core/ports.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

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

  it('adds chunks as jobs that workers may try for ever and that are never failed away', async () => {
    await chunks.enqueue([aChunk('g.t.0.0.1-1'), aChunk('g.t.0.0.2-2')]);
    const jobs = await direct.getJobs(['waiting'], 0, -1, true);
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
    await chunks.enqueue([aChunk('a.1-1', 'first')]);
    await chunks.enqueue([aChunk('a.1-1', 'second'), aChunk('a.2-2')]);
    const jobs = await direct.getJobs(['waiting'], 0, -1, true);
    expect(jobs.map(({ id, data }) => [id, data.values[0]])).toEqual([
      ['a.1-1', 'first'],
      ['a.2-2', 'x'],
    ]);
  });

  it('measures jobs and estimates their bytes', async () => {
    expect(await chunks.depth()).toEqual({ jobs: 0, bytes: 0 });
    await chunks.enqueue(
      Array.from({ length: 200 }, (_, index) => aChunk(`a.${index}-${index}`, 'x'.repeat(1_000))),
    );
    const { jobs, bytes } = await chunks.depth();
    expect(jobs).toBe(200);
    expect(bytes).toBeGreaterThan(200 * 1_000);
    expect(bytes).toBeLessThan(200 * 1_300);
  });

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
