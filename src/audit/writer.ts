import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError, type CachewrightError } from '../core/errors.ts';
import type { AuditLag, AuditStore, Clock, Outbox, OutboxEntry } from '../core/ports.ts';

/**
 * Pause after the outbox was found empty or nearly so: closings gather meanwhile, so that each costs less than a commit
 * of its own. Doubles while nothing comes. A trail is visible within the longest pause and a commit.
 */
const PAUSE_MS = { shortest: 25, longest: 200 };

/** Entries asked for at once follow their size: a batch of about this many characters bounds memory and one commit. */
const BATCH_CHARACTERS = 4_000_000;
const MAX_BATCH = 2_000;
const FIRST_BATCH = 16;

const RETRY: BackoffRule = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.2 };

/** How often the lag is told while there is one, milliseconds. */
const LAG_EVERY_MS = 250;

export interface AuditWriterOptions {
  readonly outbox: Outbox;
  readonly store: AuditStore;
  readonly clock: Clock;
  readonly onLag: (lag: AuditLag) => void;
  /** Told about each failure; the writer goes on by itself. */
  readonly onError: (error: CachewrightError) => void;
}

export interface AuditWriter {
  /** Works until the signal fires, then ends what it has begun. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Writes what is in the outbox now, without pauses; false when that took longer than the deadline. */
  flush(deadlineMs: number): Promise<boolean>;
}

/**
 * Moves audit entries from the outbox to the store: read from the head, store, remove. A crash between any two of these
 * leaves entries to be read again, and the store keeps the first row of each; so nothing is lost and nothing is twice.
 */
export function createAuditWriter(options: AuditWriterOptions): AuditWriter {
  const { outbox, store, clock, onError } = options;
  const lag = createLagTeller(options);
  let nap = new AbortController();
  let batch = FIRST_BATCH;
  let moved = 0;
  let moving = 0;
  let emptyReads = 0;
  let isHurried = false;
  let progress = Promise.withResolvers<void>();

  /** Returns whether there is more to take at once. */
  const moveBatch = async (): Promise<boolean> => {
    const wanted = batch;
    const entries = await outbox.read(wanted);
    moving = entries.length;
    if (entries.length > 0) {
      await store.append(outbox.name, entries);
      const stored = storedOf(entries, await store.cursor(outbox.name));
      await outbox.remove(stored.map(({ id }) => id));
      moved += stored.length;
      moving = 0;
      batch = nextBatch(entries);
    } else {
      emptyReads += 1;
    }
    await lag.tell(entries);
    progress.resolve();
    progress = Promise.withResolvers();
    return entries.length >= wanted;
  };

  const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
    const thisNap = new AbortController();
    nap = thisNap;
    const wake = (): void => thisNap.abort();
    signal.addEventListener('abort', wake, { once: true });
    if (!signal.aborted) await clock.sleep(ms, thisNap.signal).catch(() => undefined);
    signal.removeEventListener('abort', wake);
  };

  /** Asks until there is an answer: a connection may be on its way. The writer's own reads tell what is wrong. */
  const lengthOfOutbox = async (signal: AbortSignal): Promise<number> => {
    while (!signal.aborted) {
      try {
        return await outbox.length();
      } catch {
        await clock.sleep(PAUSE_MS.shortest, signal).catch(() => undefined);
      }
    }
    return 0;
  };

  return {
    async run(signal) {
      let failures = 0;
      let pauseMs = PAUSE_MS.shortest;
      while (!signal.aborted) {
        try {
          const before = moved;
          const isMore = await moveBatch();
          failures = 0;
          pauseMs = moved > before ? PAUSE_MS.shortest : Math.min(PAUSE_MS.longest, pauseMs * 2);
          if (!isMore && !isHurried) await pause(pauseMs, signal);
        } catch (error) {
          failures += 1;
          onError(asError(error));
          await lag.tellAfterFailure();
          await pause(backoffMs(RETRY, failures, clock.random()), signal);
        }
      }
    },
    async flush(deadlineMs) {
      const deadline = new AbortController();
      const expired = clock.sleep(deadlineMs, deadline.signal).then(
        () => 'late' as const,
        () => 'done' as const,
      );
      const flushed = async (): Promise<'done'> => {
        const left = await lengthOfOutbox(deadline.signal);
        // What is being moved just now may be in the length or not.
        const target = moved + moving + left;
        const reads = emptyReads;
        isHurried = true;
        nap.abort();
        const isOver = (): boolean => moved >= target || emptyReads > reads || deadline.signal.aborted;
        while (!isOver()) await progress.promise;
        return 'done';
      };
      try {
        return (await Promise.race([flushed(), expired])) === 'done';
      } finally {
        isHurried = false;
        deadline.abort();
      }
    },
  };
}

/** A store stops before an entry it cannot read yet; that one and those behind it stay. */
function storedOf(entries: readonly OutboxEntry[], cursor: string): readonly OutboxEntry[] {
  return entries.slice(0, entries.findLastIndex(({ id }) => id === cursor) + 1);
}

function nextBatch(entries: readonly OutboxEntry[]): number {
  const characters = entries.reduce((sum, { json }) => sum + json.length, 0);
  const fitting = Math.floor(BATCH_CHARACTERS / Math.max(1, characters / entries.length));
  return Math.max(1, Math.min(MAX_BATCH, fitting));
}

/** Tells the lag when it has changed, seldom enough to cost nothing. */
function createLagTeller({ outbox, clock, onLag }: AuditWriterOptions): {
  tell(entries: readonly OutboxEntry[]): Promise<void>;
  tellAfterFailure(): Promise<void>;
} {
  let toldMs = Number.NEGATIVE_INFINITY;
  let last: AuditLag = { entries: 0, ageMs: 0 };
  const tell = (lag: AuditLag): void => {
    toldMs = clock.now();
    last = lag;
    onLag(lag);
  };
  return {
    async tell(entries) {
      const [oldest] = entries;
      if (oldest === undefined) {
        if (last.entries > 0) tell({ entries: 0, ageMs: 0 });
      } else if (clock.now() - toldMs >= LAG_EVERY_MS) {
        const left = await outbox.length();
        tell({ entries: left, ageMs: left === 0 ? 0 : ageOf(oldest, clock) });
      }
    },
    async tellAfterFailure() {
      try {
        tell(await measureLag(outbox, clock));
      } catch {
        // The outbox itself is away: that failure has just been told.
      }
    },
  };
}

/** How far behind the store is, asked of the outbox. */
export async function measureLag(outbox: Outbox, clock: Clock): Promise<AuditLag> {
  const [oldest] = await outbox.read(1);
  return oldest === undefined
    ? { entries: 0, ageMs: 0 }
    : { entries: await outbox.length(), ageMs: ageOf(oldest, clock) };
}

/** Stream ids begin with the time of their making. */
function ageOf({ id }: OutboxEntry, clock: Clock): number {
  return Math.max(0, Math.round(clock.now() - Number.parseInt(id, 10)));
}
