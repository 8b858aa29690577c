import { BrokenCircuitError, CircuitState, circuitBreaker, ConsecutiveBreaker, handleWhen } from 'cockatiel';
import { asError, CachewrightError, type ErrorCode, fail, reasonOf } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';

export interface CallGateOptions {
  /** Named in errors. */
  readonly service: string;
  /** Calls at once, per process. */
  readonly concurrency: number;
  /** Calls in any one second, per process; undefined: no limit. */
  readonly perSecond: number | undefined;
  /** Failures in a row that open the breaker, and how long it then stays open, milliseconds. */
  readonly breaker: { readonly failures: number; readonly halfOpenAfterMs: number };
  /** How long one call may take, milliseconds. */
  readonly timeoutMs: number;
  /** How long a call may wait for its turn before its runs go back to the queue, milliseconds. */
  readonly maxWaitMs: number;
  readonly clock: Clock;
}

/** Stands before every call of one source: requests of HTTP, queries of Postgres, calls of a function. */
export interface CallGate {
  /**
   * Runs the call when its turn has come. The signal it gets fires at the timeout too.
   *
   * @throws E_SOURCE_OPEN, E_SOURCE_BUSY (with `retryAfterMs`), E_FETCH_TIMEOUT, E_ABORTED, or what the call threw as E_FETCH_FAILED
   */
  run<T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** Failures that say the source is in trouble; a wrong answer for one record does not. */
const OUTAGES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['E_FETCH_TIMEOUT', 'E_FETCH_FAILED']);
const MIN_RETRY_MS = 50;

export function createCallGate(options: CallGateOptions): CallGate {
  const { service, clock, breaker: rule, timeoutMs } = options;
  const turns = createTurns(options);
  const breaker = circuitBreaker(
    handleWhen(
      (error) =>
        error instanceof CachewrightError && OUTAGES.has(error.code) && error.details['outage'] !== false,
    ),
    { halfOpenAfter: rule.halfOpenAfterMs, breaker: new ConsecutiveBreaker(rule.failures) },
  );
  let openedMs = 0;
  breaker.onBreak(() => {
    openedMs = clock.now();
  });
  const openFor = (): number => Math.max(MIN_RETRY_MS, openedMs + rule.halfOpenAfterMs - clock.now());
  const isOpen = (): boolean =>
    breaker.state === CircuitState.Open && clock.now() < openedMs + rule.halfOpenAfterMs;
  const refusal = (): CachewrightError => fail('E_SOURCE_OPEN', { service, retryAfterMs: openFor() });

  const timed = async <T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const timeout = AbortSignal.timeout(timeoutMs);
    const both = AbortSignal.any([signal, timeout]);
    const ended = Promise.withResolvers<never>();
    const onAbort = (): void => {
      ended.reject(
        timeout.aborted && !signal.aborted
          ? fail('E_FETCH_TIMEOUT', { service, timeoutMs })
          : fail('E_ABORTED', { reason: reasonOf(signal.reason) }),
      );
    };
    both.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([call(both), ended.promise]);
    } catch (thrown) {
      if (thrown instanceof CachewrightError) throw thrown;
      throw fail('E_FETCH_FAILED', { service, reason: reasonOf(thrown) }, { cause: thrown });
    } finally {
      both.removeEventListener('abort', onAbort);
    }
  };

  return {
    async run(signal, call) {
      if (isOpen()) throw refusal();
      const done = await turns.take(signal);
      try {
        return await breaker.execute(() => timed(signal, call));
      } catch (thrown) {
        throw thrown instanceof BrokenCircuitError ? refusal() : asError(thrown);
      } finally {
        done();
      }
    },
  };
}

interface Turns {
  /** Resolves when a call may begin; call what it gives when the call has ended. */
  take(signal: AbortSignal): Promise<() => void>;
}

/** First come, first served: at most `concurrency` at once, and at most `perSecond` begun in any second. */
function createTurns({ service, concurrency, perSecond, maxWaitMs, clock }: CallGateOptions): Turns {
  const waiting: (() => void)[] = [];
  const rate = perSecond === undefined ? undefined : createRate(perSecond, clock);
  let free = concurrency;
  const release = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  const busy = (limit: string, retryAfterMs: number): CachewrightError =>
    fail('E_SOURCE_BUSY', { service, limit, retryAfterMs: Math.max(MIN_RETRY_MS, retryAfterMs) });

  const takeSlot = async (signal: AbortSignal, deadlineMs: number): Promise<void> => {
    if (free > 0) {
      free -= 1;
      return;
    }
    const turn = Promise.withResolvers<void>();
    const mine = (): void => turn.resolve();
    waiting.push(mine);
    const giveUp = (): void => {
      const at = waiting.indexOf(mine);
      if (at === -1) return;
      waiting.splice(at, 1);
      turn.reject(busy(`${concurrency} calls at once`, 500));
    };
    const timer = setTimeout(giveUp, deadlineMs);
    signal.addEventListener('abort', giveUp, { once: true });
    await turn.promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    });
  };

  return {
    async take(signal) {
      signal.throwIfAborted();
      if (rate !== undefined && rate.waitMs() > maxWaitMs)
        throw busy(`${perSecond} calls a second`, rate.waitMs());
      await takeSlot(signal, maxWaitMs);
      try {
        await rate?.begin(signal);
        return release;
      } catch (thrown) {
        release();
        throw thrown;
      }
    },
  };
}

/** Room for the time a call takes to the source: two calls may arrive closer together than they left. */
const RATE_MARGIN = 1.02;

/** A sliding window: never more begun within it than allowed, whatever came before. */
function createRate(perSecond: number, clock: Clock) {
  const capacity = Math.max(1, Math.floor(perSecond));
  const windowMs = (capacity / perSecond) * 1_000 * RATE_MARGIN;
  const begun: number[] = [];
  let queued = 0;
  let last: Promise<void> = Promise.resolve();

  const begin = async (signal: AbortSignal): Promise<void> => {
    const oldest = begun.length >= capacity ? begun[begun.length - capacity] : undefined;
    if (oldest !== undefined && oldest + windowMs > clock.now()) {
      await clock.sleep(oldest + windowMs - clock.now(), signal);
      return begin(signal);
    }
    begun.push(clock.now());
    if (begun.length > 2 * capacity) begun.splice(0, begun.length - capacity);
  };

  return {
    /** About how long a call that came now would wait, milliseconds. */
    waitMs: () => (queued / capacity) * windowMs,
    begin(signal: AbortSignal): Promise<void> {
      queued += 1;
      const mine = last
        .then(() => begin(signal))
        .finally(() => {
          queued -= 1;
        });
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}
