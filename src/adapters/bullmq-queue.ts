import { Queue } from 'bullmq';
import { fail } from '../core/errors.ts';
import { packChunk } from '../core/packed-chunk.ts';
import type { ChunkQueue, Log, QueueDepth } from '../core/ports.ts';
import { queueKeys } from './bullmq-keys.ts';
import { isUsable, type RedisClient, redisReason } from './redis-connection.ts';

export interface ChunkQueueOptions {
  /** A connection that fails fast, see `connectRedis`; whoever made it closes it. */
  readonly redis: RedisClient;
  /** Hash-tagged, so that all keys of the queue share a slot, e.g. `{cachewright}`. */
  readonly prefix: string;
  /** BullMQ's queue name. @defaultValue 'changes' */
  readonly name?: string;
  /**
   * After this an enqueue counts as unknown and is repeated with the same ids, milliseconds. Shorter than Kafka's
   * session timeout is of no use: heartbeats go out meanwhile. @defaultValue 10_000
   */
  readonly timeoutMs?: number;
  /**
   * How many finished jobs the queue knows, and for how long. A repeated id is ignored only as long as its job is known.
   * @defaultValue { count: 1_000, ageMs: 3_600_000 }
   */
  readonly keep?: { readonly count: number; readonly ageMs: number };
  readonly log: Log;
}

/** BullMQ's own count is only a ceiling: limits are counted per run. */
const ATTEMPTS_CEILING = 1_000_000;

/**
 * Jobs and a sample of their size, in one round trip. KEYS the lists and sets of `queueKeys`; failed jobs do not count · ARGV the prefix of
 * job keys · returns jobs, sampled jobs, bytes of the sampled jobs' data. The sample is taken at both ends of the
 * waiting list and at the head of the delayed set, since what waits long is smaller than what just came.
 */
const DEPTH = `
local jobs = redis.call('LLEN', KEYS[1]) + redis.call('LLEN', KEYS[2]) + redis.call('LLEN', KEYS[3])
  + redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[5])
local sampled, bytes = 0, 0
local function sample(ids)
  for _, id in ipairs(ids) do
    sampled = sampled + 1
    bytes = bytes + redis.call('HSTRLEN', ARGV[1] .. id, 'data')
  end
end
if jobs > 0 then
  sample(redis.call('LRANGE', KEYS[1], 0, 5))
  sample(redis.call('LRANGE', KEYS[1], -6, -1))
  sample(redis.call('LRANGE', KEYS[3], 0, 3))
  sample(redis.call('ZRANGE', KEYS[4], 0, 3))
  sample(redis.call('ZRANGE', KEYS[5], 0, 3))
end
return { jobs, sampled, bytes }
`;

/** The producing side of the BullMQ queue. */
export function createChunkQueue(options: ChunkQueueOptions): ChunkQueue {
  const {
    redis,
    prefix,
    name = 'changes',
    timeoutMs = 10_000,
    keep = { count: 1_000, ageMs: 3_600_000 },
    log,
  } = options;
  const removeOnComplete = { count: keep.count, age: Math.ceil(keep.ageMs / 1_000) };
  const onError = (error: unknown): void => log.debug({ err: redisReason(error) }, 'queue connection');
  let queue: Queue | undefined;
  const open = (): Queue => {
    const opened = new Queue(name, { connection: redis, prefix });
    opened.on('error', onError);
    return opened;
  };
  /** BullMQ asks Redis for its version first, and keeps a failure of that for ever: such a queue is thrown away. */
  const ready = async (): Promise<Queue> => {
    const opened = (queue ??= open());
    try {
      await opened.waitUntilReady();
      return opened;
    } catch (error) {
      if (queue === opened) queue = undefined;
      void opened.close().catch(onError);
      throw error;
    }
  };
  const { unfinished, job } = queueKeys(prefix, name);

  return {
    async enqueue(chunks, sent) {
      // BullMQ itself would wait for the first connection without end, holding every chunk it was given.
      if (!isUsable(redis))
        throw fail('E_ENQUEUE_FAILED', { reason: `Redis is not connected (${redis.status})` });
      const jobs = chunks.map(({ id, name: jobName, data }) => ({
        name: jobName,
        data: packChunk(data),
        opts: {
          jobId: id,
          attempts: ATTEMPTS_CEILING,
          backoff: { type: 'custom' },
          removeOnComplete,
          removeOnFail: false,
        },
      }));
      try {
        const opened = await within(ready(), timeoutMs);
        const adding = addTo(opened, jobs);
        // BullMQ writes its commands within this turn of the event loop.
        if (sent !== undefined) setImmediate(sent);
        await within(adding, timeoutMs);
      } catch (error) {
        // Without its cause: the driver's error carries the command, and so a thousand messages.
        throw fail('E_ENQUEUE_FAILED', { reason: redisReason(error) });
      }
    },
    async depth(): Promise<QueueDepth> {
      const reply = await redis.eval(DEPTH, unfinished.length, ...unfinished, job(''));
      const [jobs = 0, sampled = 0, bytes = 0] = Array.isArray(reply) ? reply.map(Number) : [];
      return { jobs, bytes: sampled === 0 ? 0 : Math.round((bytes / sampled) * jobs) };
    },
    async close() {
      // `close` waits for a connection that may never come back.
      if (queue !== undefined) await within(queue.close(), 2_000).catch(onError);
    },
  };
}

/** One by itself without a pipeline: ioredis gives each pipeline a method for every script, which costs more than the job. */
async function addTo(queue: Queue, jobs: Parameters<Queue['addBulk']>[0]): Promise<void> {
  const [first] = jobs;
  if (first !== undefined && jobs.length === 1) await queue.add(first.name, first.data, first.opts);
  else await queue.addBulk(jobs);
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fail('E_ABORTED', { reason: `no answer within ${ms} ms` })), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
