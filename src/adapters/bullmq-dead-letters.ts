import { Queue } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import type { Clock, DeadLetter, Log } from '../core/ports.ts';
import { redisReason } from './redis-connection.ts';

/** Name of the BullMQ queue in which dead letters lie until a person redrives or discards them. */
export const DEAD_LETTER_QUEUE = 'dead-letters';

const BATCH = 200;
const IDLE_MS = 250;
const MAX_PAUSE_MS = 10_000;

export interface DeadLetterMover {
  start(): void;
  /** Looks into the outbox at once: an execution has just put something there. */
  wake(): void;
  /** Moves what is there now; returns how many. */
  flush(): Promise<number>;
  close(): Promise<void>;
}

/**
 * Moves dead letters from the closing script's outbox into a queue of their own, where they are visible and wait. It
 * tries for ever and uses nobody's attempts. Ids are deterministic, so that a letter moved twice lies there once.
 */
export function createDeadLetterMover(options: {
  /** With deadlines, for the outbox. */
  readonly redis: Redis | Cluster;
  readonly connection: Redis | Cluster;
  readonly prefix: string;
  readonly outbox: string;
  readonly clock: Clock;
  readonly log: Log;
}): DeadLetterMover {
  const { redis, outbox, clock, log } = options;
  const queue = new Queue(DEAD_LETTER_QUEUE, { connection: options.connection, prefix: options.prefix });
  queue.on('error', (error) => log.debug({ err: redisReason(error) }, 'dead-letter queue'));
  const stop = new AbortController();
  let wake = (): void => undefined;
  let loop: Promise<void> = Promise.resolve();

  const flush = async (): Promise<number> => {
    const entries = await redis.xrange(outbox, '-', '+', 'COUNT', BATCH);
    if (entries.length === 0) return 0;
    const letters = entries.map(([, fields]) => JSON.parse(fields[1] ?? '{}') as DeadLetter);
    await queue.addBulk(
      letters.map((letter) => ({
        name: `${letter.service === '' ? '?' : letter.service} ${letter.error.code} ${letter.message}`,
        data: letter,
        opts: { jobId: letterId(letter), removeOnComplete: false, removeOnFail: false },
      })),
    );
    await redis.xdel(outbox, ...entries.map(([id]) => id));
    return entries.length;
  };

  const run = async (): Promise<void> => {
    let pauseMs = IDLE_MS;
    while (!stop.signal.aborted) {
      try {
        pauseMs = (await flush()) > 0 ? 0 : IDLE_MS;
      } catch (error) {
        pauseMs = Math.min(MAX_PAUSE_MS, Math.max(IDLE_MS, pauseMs) * 2);
        log.warn(
          { err: redisReason(error), againInMs: pauseMs },
          'dead letters could not be moved; they wait in the outbox',
        );
      }
      if (pauseMs > 0) await pause(pauseMs);
    }
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
      clock.sleep(ms, stop.signal).then(resolve, () => resolve());
    });

  return {
    start() {
      loop = run();
    },
    wake: () => wake(),
    flush,
    async close() {
      stop.abort();
      await loop;
      await queue
        .close()
        .catch((error: unknown) => log.warn({ err: redisReason(error) }, 'closing the dead-letter queue'));
    },
  };
}

/** Job id of a letter: the message, its epoch and redrive; never a `:` (BullMQ forbids it). */
export function letterId(letter: Pick<DeadLetter, 'message' | 'origin' | 'redrive'>): string {
  return `${letter.message.replaceAll(':', '_')}.${letter.origin.epoch}.${letter.redrive}`;
}
