import { type CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';

export interface TurnRule {
  readonly service: string;
  /** Calls at once. */
  readonly concurrency: number;
  /**
   * Calls in any one second; undefined: no limit. Fractions above 1 are rounded down (2.5 → 2); below 1 it is one call
   * in 1/perSecond seconds.
   */
  readonly perSecond: number | undefined;
  /** The longest a call may wait for its turn, milliseconds; then it is refused with `E_SOURCE_BUSY`. */
  readonly maxWaitMs: number;
  /** Calls that may wait; one more is refused with `E_SOURCE_BUSY` at once. @defaultValue 10_000 */
  readonly maxWaiting?: number | undefined;
  readonly clock: Clock;
}

/** Gives back a turn. `wasUsed: false`: the source was not called after all, so it does not count for the rate. */
export type ReleaseTurn = (wasUsed: boolean) => void;

/** Calls take turns, first come, first served, within a concurrency and a rate. */
export interface CallTurns {
  /** @throws `E_SOURCE_BUSY` with `retryAfterMs`; `E_ABORTED` when the signal fires first */
  take(signal: AbortSignal): Promise<ReleaseTurn>;
  /** No turn is given for this long. */
  rest(forMs: number): void;
}

interface Waiter {
  readonly signal: AbortSignal;
  readonly giveUpMs: number;
  readonly start: () => void;
  readonly refuse: (error: CachewrightError) => void;
}

/** The shortest pause suggested to a run that found the source busy. */
const MIN_RETRY_MS = 100;

/**
 * The rate is a sliding window, and a call counts from its start until one window after its *end*. Only so is it exact
 * for the source: a call arrives there at some moment in between, and connecting can take one call longer than the
 * next. The price: of `perSecond` calls, a source that answers in 50 ms is asked 95 %.
 */
export function createCallTurns(rule: TurnRule): CallTurns {
  const { perSecond, concurrency, maxWaitMs, maxWaiting = 10_000, clock } = rule;
  const places = perSecond === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(perSecond));
  const windowMs = perSecond !== undefined && perSecond < 1 ? 1_000 / perSecond : 1_000;
  let waiting: Waiter[] = [];
  /** How many calls of a signal wait. One listener serves them all: to remove one of thousands is slow. */
  const waitingFor = new Map<AbortSignal, number>();
  /** When calls that have ended stop to count, ascending. */
  const counted: number[] = [];
  let active = 0;
  let restUntilMs = 0;
  let timer: NodeJS.Timeout | undefined;

  const mayStart = (nowMs: number): boolean =>
    nowMs >= restUntilMs && active < concurrency && active + counted.length < places;

  /** The least a call behind `ahead` others has to wait for the rate, or for the end of a rest. */
  function leastWaitMs(nowMs: number, ahead: number): number {
    const restMs = restUntilMs - nowMs;
    const toBeFreed = active + counted.length + ahead + 1 - places;
    if (toBeFreed <= 0) return Math.max(0, restMs);
    const freedMs = counted[toBeFreed - 1];
    const rateMs =
      freedMs === undefined ? windowMs * Math.ceil((toBeFreed - counted.length) / places) : freedMs - nowMs;
    return Math.max(rateMs, restMs);
  }

  function busy(limit: string, waitMs: number): CachewrightError {
    return fail('E_SOURCE_BUSY', {
      service: rule.service,
      limit,
      retryAfterMs: Math.ceil(Math.max(waitMs, MIN_RETRY_MS)),
    });
  }

  const limitNow = (nowMs: number): string => {
    if (nowMs < restUntilMs) return 'it asked for a pause';
    return active >= concurrency ? `${concurrency} calls at once` : `${perSecond} calls a second`;
  };

  const release: ReleaseTurn = (wasUsed) => {
    active -= 1;
    if (wasUsed && perSecond !== undefined) counted.push(clock.now() + windowMs);
    advance();
  };

  function enqueue(waiter: Waiter): void {
    const { signal } = waiter;
    const others = waitingFor.get(signal) ?? 0;
    waitingFor.set(signal, others + 1);
    if (others === 0) signal.addEventListener('abort', leave, { once: true });
    waiting.push(waiter);
    advance();
  }

  function dequeue(): void {
    const signal = waiting.shift()?.signal;
    if (signal === undefined) return;
    const others = (waitingFor.get(signal) ?? 0) - 1;
    if (others > 0) {
      waitingFor.set(signal, others);
      return;
    }
    waitingFor.delete(signal);
    signal.removeEventListener('abort', leave);
  }

  /** Calls that were stopped while they waited: all of those signals that have fired. */
  function leave(): void {
    const stopped = waiting.filter(({ signal }) => signal.aborted);
    waiting = waiting.filter(({ signal }) => !signal.aborted);
    for (const { signal, refuse } of stopped) {
      waitingFor.delete(signal);
      refuse(aborted(signal));
    }
    advance();
  }

  /** Starts and refuses who is due, and sets the alarm for the next time something changes by itself. */
  function advance(): void {
    const nowMs = clock.now();
    while (counted[0] !== undefined && counted[0] <= nowMs) counted.shift();
    for (let head = waiting[0]; head !== undefined; head = waiting[0]) {
      if (mayStart(nowMs)) {
        dequeue();
        active += 1;
        head.start();
      } else if (head.giveUpMs <= nowMs) {
        dequeue();
        head.refuse(busy(limitNow(nowMs), Math.max(leastWaitMs(nowMs, waiting.length), maxWaitMs)));
      } else break;
    }
    clearTimeout(timer);
    const head = waiting[0];
    if (head === undefined) return;
    const freeMs = Math.max(restUntilMs, active + counted.length < places ? 0 : (counted[0] ?? 0));
    const alarmMs = freeMs > nowMs ? Math.min(freeMs, head.giveUpMs) : head.giveUpMs;
    timer = setTimeout(advance, Math.ceil(alarmMs - nowMs));
  }

  return {
    async take(signal) {
      if (signal.aborted) throw aborted(signal);
      const nowMs = clock.now();
      while (counted[0] !== undefined && counted[0] <= nowMs) counted.shift();
      if (waiting.length === 0 && mayStart(nowMs)) {
        active += 1;
        return release;
      }
      if (waiting.length >= maxWaiting) throw busy(`${maxWaiting} calls waiting`, maxWaitMs);
      const waitMs = leastWaitMs(nowMs, waiting.length);
      if (waitMs > maxWaitMs) throw busy(limitNow(nowMs), waitMs);
      return new Promise((resolve, reject) => {
        enqueue({ signal, giveUpMs: nowMs + maxWaitMs, start: () => resolve(release), refuse: reject });
      });
    },

    rest(forMs) {
      restUntilMs = Math.max(restUntilMs, clock.now() + forMs);
    },
  };
}

/** The error of a call that the signal stopped. */
export function aborted(signal: AbortSignal): CachewrightError {
  return fail('E_ABORTED', { reason: reasonOf(signal.reason) });
}
