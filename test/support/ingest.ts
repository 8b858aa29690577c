import { Queue } from 'bullmq';
import { connectRedis, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createKafkaSource, type KafkaSourceOptions } from '../../src/adapters/kafka-source.ts';
import { openQueueShards } from '../../src/app/queue-shards.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { type StoredChunk, unpackChunk } from '../../src/core/packed-chunk.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { ChangeSource, Log } from '../../src/core/ports.ts';
import { createBackPressure, type Gauge } from '../../src/ingest/back-pressure.ts';
import type { ChunkLimits } from '../../src/ingest/cut.ts';
import { createHandOff, type IngestEvent } from '../../src/ingest/hand-off.ts';
import { waitFor } from './servers/process.ts';

export const clock = systemClock();
const QUEUE = 'changes';

/** A log that remembers its lines. */
export function rememberingLog(): Log & {
  readonly lines: { level: string; fields: object; message: string }[];
} {
  const lines: { level: string; fields: object; message: string }[] = [];
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields, message });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** A message as a test compares it. */
export interface Seen {
  readonly epoch: number;
  readonly stream: string;
  readonly position: string;
  readonly value: unknown;
}

export interface IngestOptions {
  readonly redisUrl: string;
  /** Hash-tagged. */
  readonly prefix: string;
  /** @defaultValue 1 */
  readonly shards?: number;
  /** Kafka's adapter with these settings, or a source of the test's own. */
  readonly kafka?: Omit<KafkaSourceOptions, 'clock' | 'log'>;
  readonly source?: ChangeSource;
  readonly limits?: Partial<ChunkLimits>;
  readonly gauges?: readonly Gauge[];
  readonly onMissingMark?: 'earliest' | 'committed';
}

export type Ingest = Awaited<ReturnType<typeof startIngest>>;

/** Ingest as a process runs it: a source, the hand-off, and the queue's Redis. */
export async function startIngest(options: IngestOptions) {
  const { redisUrl, prefix, kafka } = options;
  const log = rememberingLog();
  const redis = connectRedis({
    url: redisUrl,
    name: 'test-ingest',
    connectTimeoutMs: 2_000,
    commandTimeoutMs: 2_000,
    onError: () => undefined,
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
  const events: IngestEvent[] = [];
  const source = options.source ?? createKafkaSource(withClock(kafka, log));
  const input = { queue: { prefix: prefix.replace(/^\{(.*)\}$/, '$1'), shards: options.shards ?? 1 } };
  const { config } = resolveConfig({ input, env: {} });
  const shards = openQueueShards({ config, redis, watchMs: 500, log });
  const { queue } = shards;
  const marks = shards.marks();
  const handOff = createHandOff({
    source,
    queue,
    marks,
    machine: 'test@1',
    limits: { maxChunkMessages: 1_000, maxChunkBytes: 1 << 20, ...options.limits },
    backPressure: createBackPressure({ gauges: options.gauges ?? [], everyMs: 50, clock, log }),
    onMissingMark: options.onMissingMark ?? 'earliest',
    clock,
    log,
    events: (event) => void events.push(event),
  });
  await source.start(handOff.handle);
  return {
    source,
    handOff,
    marks,
    queue,
    redis,
    events,
    log,
    /** Decisions that were told, without the everyday ones. */
    decisions: () =>
      events.flatMap((event) =>
        event.kind === 'taken' && !['level', 'ahead', 'fresh'].includes(event.decision)
          ? [event.decision]
          : [],
      ),
    async stop(): Promise<void> {
      await source.close();
      await handOff.close();
      marks.close();
      await queue.close();
      redis.disconnect();
    },
  };
}

function withClock(kafka: IngestOptions['kafka'], log: Log): KafkaSourceOptions {
  if (kafka === undefined) throw new Error('a test gives `kafka` or `source`');
  return { ...kafka, clock, log };
}

/** Reads what is in the queue, over a connection of its own. */
export function openQueue(redisUrl: string, prefix: string) {
  const { hostname: host, port } = new URL(redisUrl);
  const queue = new Queue<StoredChunk>(QUEUE, { connection: { host, port: Number(port) }, prefix });
  queue.on('error', () => undefined);
  const chunks = () => queue.getJobs(['waiting', 'active', 'delayed', 'completed'], 0, -1, true);
  const seen = async (): Promise<Seen[]> =>
    (await chunks()).flatMap((job) => {
      const data = unpackChunk(job.data);
      return data.positions.map((position, index) => ({
        epoch: data.epoch,
        stream: data.stream,
        position,
        value: data.values[index],
      }));
    });
  return {
    queue,
    chunks,
    seen,
    /** Waits until so many messages were enqueued, and returns them by epoch and position. */
    async waitForMessages(count: number, timeoutMs = 30_000): Promise<Seen[]> {
      const found = await waitFor(
        async () => {
          const all = await seen();
          return all.length >= count ? all : undefined;
        },
        { what: `${count} messages in the queue`, timeoutMs },
      );
      return found.toSorted(
        (a, b) =>
          a.stream.localeCompare(b.stream) || a.epoch - b.epoch || Number(a.position) - Number(b.position),
      );
    },
    close: () => queue.close(),
  };
}

/** `["v0","v1",…]` */
export function values(count: number, prefix = 'v', from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${from + index}`);
}
