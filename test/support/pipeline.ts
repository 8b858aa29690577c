import { Queue, type QueueOptions } from 'bullmq';
import { machineName } from '../../machines/index.ts';
import { queueKeys } from '../../src/adapters/bullmq-keys.ts';
import { createChunkWorker } from '../../src/adapters/bullmq-worker.ts';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import { connectRedis, connectRedisForWorker, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import type { Message } from '../../src/core/change.ts';
import { type ChunkData, chunkOf } from '../../src/core/chunk.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type StoredChunk, unpackChunk } from '../../src/core/packed-chunk.ts';
import type { DeadLetter, Execution, Log, QueuedChunk } from '../../src/core/ports.ts';
import { originalForm, type Service } from '../../src/core/service.ts';
import type { AuditEntry } from '../../src/core/trail.ts';
import { type ClosedExecution, createAttempt } from '../../src/pipeline/attempt.ts';
import { createEffects } from '../../src/pipeline/effects.ts';
import type { Effects } from '../../src/pipeline/effect.ts';
import { createExecutor } from '../../src/pipeline/executor.ts';
import { createParse } from '../../src/pipeline/parse.ts';
import { productionChart, silentLog } from '../../src/testing/paths.ts';
import { sharedRedis, uniqueName } from './servers/shared.ts';
import { aService } from './service.ts';

const QUEUE = 'changes';
export const machine = machineName(productionChart());

/** A message of the test stream. */
export function aMessage(position: number, body: object | string, stream = 'cache-message-0'): Message {
  return {
    origin: { stream, epoch: 0, position: String(position) },
    timestampMs: Date.now(),
    key: null,
    value: typeof body === 'string' ? body : JSON.stringify(body),
    headers: [],
  };
}

/** Queue, worker and tiers on the run's Redis, without Kafka: for what happens to jobs. */
export async function startPipeline(options: {
  services: readonly Service[];
  lockMs?: number;
  stalledIntervalMs?: number;
  /** Replaces single effects of the production set. */
  effects?: (real: Effects) => Partial<Effects>;
  concurrency?: number;
  autostart?: boolean;
  log?: Log;
}) {
  const { url } = await sharedRedis();
  const connection = { url, connectTimeoutMs: 2_000, commandTimeoutMs: 5_000, onError: () => undefined };
  const fast = connectRedis({ ...connection, name: 'test' });
  const blocking = connectRedisForWorker({ ...connection, name: 'test-worker' });
  await waitForRedis(fast, { what: 'Redis', timeoutMs: 5_000 });
  const prefix = `{${uniqueName('pipeline')}}`;
  const clock = systemClock();
  const chart = productionChart();
  const localTier = createKeyvLocalTier({ maxEntries: 10_000, maxBytes: 64 << 20, clock });
  const redisTier = createRedisTier({ redis: fast, log: undefined });
  const services = new Map(options.services.map((service) => [service.id, service]));
  const parse = createParse({
    services,
    mappingOf: () => originalForm,
    limits: { maxMessageBytes: 1 << 20, maxDepth: 64 },
    clock,
  });
  const real = createEffects({ parse, localTier, redisTier, clock });
  const effects: Effects = { ...real, ...(options.effects?.(real) as Effects | undefined) };
  const executor = createExecutor({
    chart,
    effects,
    clock,
    log: silentLog,
    maxGroupRuns: 500,
    maxGroupBytes: 4 << 20,
    effectTimeoutMs: 15_000,
    defaultRetry: aService().retry,
  });
  const closed: ClosedExecution[] = [];
  const attempt = createAttempt({
    chart,
    executor,
    parse,
    clock,
    log: options.log ?? silentLog,
    onClosed: (one) => closed.push(one),
  });
  const queueOptions: QueueOptions = { connection: blocking, prefix };
  const queue = new Queue(QUEUE, queueOptions);
  const enqueue = async (chunks: readonly QueuedChunk[]): Promise<void> => {
    await queue.addBulk(
      chunks.map(({ id, name, data }) => ({
        name,
        data,
        opts: {
          jobId: id,
          attempts: 1_000_000,
          backoff: { type: 'custom' },
          removeOnComplete: { count: 100 },
        },
      })),
    );
  };
  /** A worker of this program, or of a later one that reads what it finds by `reading`. */
  const makeWorker = (
    name: string,
    reading: (execution: Execution) => Execution = (execution) => execution,
  ) =>
    createChunkWorker(
      {
        connection: blocking,
        scripts: fast,
        queue: QUEUE,
        prefix,
        name,
        concurrency: options.concurrency ?? 4,
        lockMs: options.lockMs ?? 4_000,
        stalledIntervalMs: options.stalledIntervalMs ?? 3_000,
        sweepMs: 100,
        enqueue,
        clock,
        log: silentLog,
      },
      (execution) => attempt(reading(execution)),
    );
  const worker = makeWorker('worker-a');
  if (options.autostart !== false) await worker.start();
  const keys = queueKeys(prefix, QUEUE);
  const outbox = async <T>(stream: string): Promise<T[]> =>
    (await fast.xrange(stream, '-', '+')).map(([, fields]) => JSON.parse(fields[1] ?? '{}') as T);
  return {
    redis: fast,
    blocking,
    queue,
    keys,
    prefix,
    localTier,
    redisTier,
    worker,
    makeWorker,
    closed,
    enqueue,
    clock,
    /** Enqueues messages as one job. */
    async add(
      id: string,
      messages: readonly Message[],
      more: Parameters<typeof chunkOf>[2] = {},
    ): Promise<void> {
      await enqueue([{ id, name: `cache-message/0 ${id}`, data: chunkOf(messages, machine, more) }]);
    },
    async data(id: string): Promise<ChunkData> {
      return unpackChunk(JSON.parse((await fast.hget(keys.job(id), 'data')) ?? '{}') as StoredChunk);
    },
    audit: () => outbox<AuditEntry>(keys.auditOutbox),
    deadLetters: () => outbox<DeadLetter>(keys.deadOutbox),
    async close(): Promise<void> {
      await worker.close(2_000);
      await queue.close();
      fast.disconnect();
      blocking.disconnect();
    },
  };
}

export type Pipeline = Awaited<ReturnType<typeof startPipeline>>;
