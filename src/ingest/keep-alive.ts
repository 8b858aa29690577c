/**
 * Waiting inside a batch. The membership lives only while somebody calls `heartbeat`, so everything that may take long
 * goes through here. A heartbeat that fails ends the wait: the partition is another's.
 */
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError } from '../core/errors.ts';
import type { Clock, Log, SourceBatch } from '../core/ports.ts';

/** The source itself sends a heartbeat only when one is due, so asking more often costs nothing. Milliseconds. */
const BEAT_MS = 1_000;
/** A lasting fault is told of again after this, milliseconds. */
const REMIND_MS = 30_000;
/** Short at first: most faults are one lost connection. */
const RETRY: BackoffRule = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.2 };

export type Waiting = Pick<SourceBatch, 'topic' | 'partition' | 'signal' | 'heartbeat' | 'pause'>;
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/** Awaits `work` with heartbeats. Rejects only when a heartbeat does; how the work ended is in the outcome. */
export async function whileBeating<T>(
  batch: Pick<Waiting, 'heartbeat'>,
  clock: Clock,
  work: Promise<T>,
): Promise<Outcome<T>> {
  const settled = work.then(
    (value): Outcome<T> => ({ ok: true, value }),
    (error: unknown): Outcome<T> => ({ ok: false, error }),
  );
  for (;;) {
    const winner = await Promise.race([settled, nextBeat(clock)]);
    if (winner !== undefined) return winner;
    await batch.heartbeat();
  }
}

const beats = new WeakMap<Clock, Promise<void>>();

/** Shared by all who wait, since most waits are over long before it: a timer each would cost more than the wait. */
function nextBeat(clock: Clock): Promise<void> {
  const known = beats.get(clock);
  if (known !== undefined) return known;
  const beat = clock.sleep(BEAT_MS).finally(() => beats.delete(clock));
  beats.set(clock, beat);
  return beat;
}

/** Sleeps with heartbeats; rejects with `E_ABORTED` when the partition is lost or the source closes. */
export async function rest(
  batch: Pick<Waiting, 'heartbeat' | 'signal'>,
  clock: Clock,
  ms: number,
): Promise<void> {
  const untilMs = clock.now() + ms;
  for (let left = ms; left > 0; left = untilMs - clock.now()) {
    await clock.sleep(Math.min(left, BEAT_MS), batch.signal);
    await batch.heartbeat();
  }
}

/** What a wait is told with. */
export interface WaitOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Called once when the wait begins, and once when it is over. */
  readonly onWaiting: (reason: string) => void;
  readonly onResumed: (waitedMs: number) => void;
}

/** Repeats `work` until it succeeds; the partition counts as paused meanwhile. Returns what it gave. */
export async function untilDone<T>(
  batch: Waiting,
  what: string,
  work: () => Promise<T>,
  options: WaitOptions,
): Promise<T> {
  const { clock, log } = options;
  const first = await whileBeating(batch, clock, work());
  if (first.ok) return first.value;
  return paused(batch, `${what}: ${asError(first.error).message}`, options, async () => {
    let outcome: Outcome<T> = first;
    let toldMs = Number.NEGATIVE_INFINITY;
    for (let failures = 1; !outcome.ok; failures += 1) {
      const { code, message } = asError(outcome.error);
      if (clock.now() - toldMs >= REMIND_MS) {
        log.warn(
          { topic: batch.topic, partition: batch.partition, code, failures },
          `${what} failed and is repeated: ${message}`,
        );
        toldMs = clock.now();
      }
      await rest(batch, clock, backoffMs(RETRY, failures, clock.random()));
      outcome = await whileBeating(batch, clock, work());
    }
    return outcome.value;
  });
}

/** Runs `work` with the partition paused, and tells when that began and ended. */
export async function paused<T>(
  batch: Waiting,
  reason: string,
  { clock, onWaiting, onResumed }: Omit<WaitOptions, 'log'>,
  work: () => Promise<T>,
): Promise<T> {
  const sinceMs = clock.now();
  const resume = batch.pause();
  onWaiting(reason);
  try {
    return await work();
  } finally {
    resume();
    onResumed(clock.now() - sinceMs);
  }
}
