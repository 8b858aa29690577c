import { Queue } from 'bullmq';
import type { Redriving } from '../core/dead-letter.ts';
import { fail } from '../core/errors.ts';
import type { Clock, DeadLetter, DeadLetterBox, Log, StoredLetter } from '../core/ports.ts';
import { DEAD_LETTER_QUEUE, keepAway, removeLetters } from './bullmq-dead-letters.ts';
import { type QueueKeys, queueKeys } from './bullmq-keys.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';

/** Our field in a letter's job: who redrives it. */
const REDRIVING = 'cw-redriving';

/** A letter that was settled meanwhile must not rise again as a job of one field. KEYS jobs … · ARGV field, value */
const MARK = `
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, ARGV[1], ARGV[2]) end
end
`;

/**
 * The BullMQ queue of dead letters as a box: nobody works on its jobs, they lie there until they are taken away.
 *
 * @param redis fails fast (`connectRedis`); whoever made it closes it
 * @param chunks keys of the queue of chunks
 */
export function createDeadLetterBox(options: {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly chunks: QueueKeys;
  readonly clock: Clock;
  readonly log: Log;
}): DeadLetterBox {
  const { redis, prefix, chunks, clock, log } = options;
  const letters = queueKeys(prefix, DEAD_LETTER_QUEUE);
  let queue: Queue | undefined;
  const open = (): Queue => {
    if (queue !== undefined) return queue;
    queue = new Queue(DEAD_LETTER_QUEUE, { connection: redis, prefix });
    queue.on('error', (error) => log.debug({ err: redisReason(error) }, 'dead-letter queue'));
    return queue;
  };

  const guarded = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work();
    } catch (error) {
      throw fail('E_UNREACHABLE', { what: 'The dead letters in Redis', reason: redisReason(error) });
    }
  };

  const readOne = (id: string, [data, redriving]: readonly (string | null)[]): StoredLetter | undefined =>
    data == null
      ? undefined
      : {
          id,
          letter: JSON.parse(data) as DeadLetter,
          redriving: redriving == null ? null : (JSON.parse(redriving) as Redriving),
        };

  return {
    // BullMQ puts new jobs in front.
    ids: () =>
      guarded(async () => (await redis.lrange(`${prefix}:${DEAD_LETTER_QUEUE}:wait`, 0, -1)).reverse()),
    read: (ids) =>
      guarded(async () => {
        const found = await Promise.all(ids.map((id) => redis.hmget(letters.job(id), 'data', REDRIVING)));
        return ids.map((id, index) => readOne(id, found[index] ?? []));
      }),
    mark: (ids, redriving) =>
      guarded(async () => {
        if (ids.length > 0)
          await redis.eval(
            MARK,
            ids.length,
            ...ids.map(letters.job),
            REDRIVING,
            JSON.stringify(redriving satisfies Redriving),
          );
      }),
    remove: (ids) =>
      guarded(async () => {
        if (ids.length === 0) return 0;
        await keepAway(redis, prefix, ids, clock);
        return removeLetters(open(), ids);
      }),
    openJobs: (jobs) =>
      guarded(async () => {
        const found = await Promise.all(
          jobs.map((job) => redis.hmget(chunks.job(job), 'timestamp', 'finishedOn')),
        );
        return new Set(jobs.filter((_, index) => found[index]?.[0] != null && found[index]?.[1] == null));
      }),
    record: (entries) =>
      guarded(async () => {
        for (const entry of entries) await redis.xadd(chunks.auditOutbox, '*', 'e', JSON.stringify(entry));
      }),
    async close() {
      await queue?.close().catch((error: unknown) => log.debug({ err: redisReason(error) }, 'closing'));
    },
  };
}
