import { Queue } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import { DEAD_LETTER_FORMAT, letterId, type Settlement } from '../core/dead-letter.ts';
import { fail, reasonOf } from '../core/errors.ts';
import type { Clock, DeadLetter, Log } from '../core/ports.ts';
import { createMoverLease } from './redis-mover-lease.ts';
import { redisReason } from './redis-connection.ts';

/** Name of the BullMQ queue in which dead letters lie until a person redrives or discards them. */
export const DEAD_LETTER_QUEUE = 'dead-letters';

const BATCH = 200;
/** Ids of one command, or commands of one round trip. */
const SLICE = 500;
const IDLE_MS = 250;
/** How often a process that does not move asks whether it should, milliseconds. */
const STANDBY_MS = 1_000;
const MAX_PAUSE_MS = 10_000;
/** How long a letter that was settled or discarded cannot come back by a mover that was stopped meanwhile. */
const SETTLED_KEPT_MS = 86_400_000;

export interface DeadLetterMover {
  start(): void;
  /** Looks into the outbox at once: an execution has just put something there. */
  wake(): void;
  /** Moves what is there now, one batch; returns how many entries. */
  flush(): Promise<number>;
  close(): Promise<void>;
}

export interface DeadLetterMoverOptions {
  /** With deadlines, for the outbox. */
  readonly redis: Redis | Cluster;
  readonly connection: Redis | Cluster;
  readonly prefix: string;
  readonly outbox: string;
  /** The next outbox of the letters that also go to Kafka; undefined: none does. */
  readonly kafka: { readonly outbox: string; readonly isFor: (letter: DeadLetter) => boolean } | undefined;
  /** Takes letters away for good that may lie elsewhere. @defaultValue those of this queue */
  readonly takeAway?: (ids: readonly string[]) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
}

interface Entry {
  readonly id: string;
  readonly json: string;
  readonly content: DeadLetter | Settlement;
}

/**
 * Moves dead letters from the closing script's outbox into a queue of their own, where they are visible and wait, and
 * takes those away whose redriven runs are final. It tries for ever and uses nobody's attempts. Ids are deterministic,
 * so that a letter moved twice lies there once. One process of a fleet moves at a time.
 */
export function createDeadLetterMover(options: DeadLetterMoverOptions): DeadLetterMover {
  const { redis, prefix, outbox, kafka, clock, log } = options;
  const takeAway =
    options.takeAway ??
    (async (ids: readonly string[]): Promise<void> => {
      await keepAway(redis, prefix, ids, clock);
      await removeLetters(queue, ids);
    });
  const queue = new Queue(DEAD_LETTER_QUEUE, { connection: options.connection, prefix });
  queue.on('error', (error) => log.debug({ err: redisReason(error) }, 'dead-letter queue'));
  const lease = createMoverLease(redis, `${prefix}:dead-mover`);
  const stop = new AbortController();
  /** Entries that this version cannot read: they stay where they are, and nobody waits behind them. */
  const unread = new Set<string>();
  let wake = (): void => undefined;
  let loop: Promise<void> = Promise.resolve();

  const flush = async (): Promise<number> => {
    const found = await redis.xrange(outbox, '-', '+', 'COUNT', BATCH + unread.size);
    const entries = found.flatMap(([id, fields]) => (unread.has(id) ? [] : read(id, fields[1] ?? '')));
    if (entries.length === 0) return 0;
    const letters = entries.flatMap(({ content }) => ('settled' in content ? [] : [content]));
    await add(letters);
    const settled = entries.flatMap(({ content }) => ('settled' in content ? content.settled : []));
    if (settled.length > 0) await takeAway(settled);
    await handOn(entries);
    return entries.length;
  };

  const read = (id: string, json: string): Entry[] => {
    try {
      const content = JSON.parse(json) as DeadLetter | Settlement;
      if (content.format <= DEAD_LETTER_FORMAT) return [{ id, json, content }];
      throw fail('E_FORMAT_NEWER', {
        what: 'dead letter',
        format: content.format,
        known: DEAD_LETTER_FORMAT,
      });
    } catch (error) {
      unread.add(id);
      log.error({ entry: id, err: reasonOf(error) }, 'a dead letter cannot be read; it stays in the outbox');
      return [];
    }
  };

  const add = async (letters: readonly DeadLetter[]): Promise<void> => {
    if (letters.length === 0) return;
    const ids = letters.map(letterId);
    await queue.addBulk(
      letters.map((letter, index) => ({
        name: `${letter.service === '' ? '?' : letter.service} ${letter.error.code} ${letter.message}`,
        data: letter,
        opts: { jobId: ids[index] ?? '', removeOnComplete: false, removeOnFail: false },
      })),
    );
    const scores = await redis.zmscore(settledKeyOf(prefix), ...ids);
    await removeLetters(
      queue,
      ids.filter((_, index) => scores[index] != null),
    );
  };

  /** What is done leaves the outbox; what goes to Kafka enters the next one in the same step. */
  const handOn = async (entries: readonly Entry[]): Promise<void> => {
    const step = redis.multi();
    for (const { json, content } of entries) {
      if (kafka !== undefined && !('settled' in content) && kafka.isFor(content))
        step.xadd(kafka.outbox, '*', 'e', json);
    }
    step.xdel(outbox, ...entries.map(({ id }) => id));
    for (const [error] of (await step.exec()) ?? []) if (error !== null) throw error;
  };

  const run = async (): Promise<void> => {
    let pauseMs = IDLE_MS;
    while (!stop.signal.aborted) {
      try {
        if (await lease.hold()) pauseMs = (await flush()) > 0 ? 0 : IDLE_MS;
        else pauseMs = STANDBY_MS;
      } catch (error) {
        pauseMs = Math.min(MAX_PAUSE_MS, Math.max(IDLE_MS, pauseMs) * 2);
        log.warn(
          { err: redisReason(error), againInMs: pauseMs },
          'dead letters could not be moved; they wait in the outbox',
        );
      }
      if (pauseMs > 0) await pause(pauseMs);
    }
    await lease.release().catch(() => undefined);
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

function settledKeyOf(prefix: string): string {
  return `${prefix}:dead-settled`;
}

/** Remembers that letters were dealt with: a mover that has them in hand still takes them away again. */
export async function keepAway(
  redis: Redis | Cluster,
  prefix: string,
  ids: readonly string[],
  clock: Clock,
): Promise<void> {
  const nowMs = Math.floor(clock.now());
  const key = settledKeyOf(prefix);
  for (let from = 0; from < ids.length; from += SLICE)
    await redis.zadd(key, ...ids.slice(from, from + SLICE).flatMap((id) => [nowMs, id]));
  await redis.zremrangebyscore(key, '-inf', nowMs - SETTLED_KEPT_MS);
}

/** @returns how many were there */
export async function removeLetters(queue: Queue, ids: readonly string[]): Promise<number> {
  let removed = 0;
  for (let from = 0; from < ids.length; from += SLICE) {
    const counts = await Promise.all(ids.slice(from, from + SLICE).map((id) => queue.remove(id)));
    removed += counts.reduce((sum, count) => sum + count, 0);
  }
  return removed;
}
