import { CircuitState, circuitBreaker, ConsecutiveBreaker, handleAll } from 'cockatiel';
import { CachewrightError, fail } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';

export interface BreakerRule {
  /** Outages in a row that open the breaker. */
  readonly failures: number;
  /** How long it stays open before one call tries again, milliseconds. */
  readonly halfOpenAfterMs: number;
}

/** Leaves a source alone that is out: open, it refuses every call; half open, it lets one through to see. */
export interface CallBreaker {
  /** @throws `E_SOURCE_OPEN` with `retryAfterMs` unless a call may go */
  check(): void;
  /**
   * Runs the call, which begins before this returns.
   *
   * @throws `E_SOURCE_OPEN` with `retryAfterMs` when it may not go, or was the one call to see and found an outage
   *   (then its `cause`); else what the call throws
   */
  run<T>(call: () => Promise<T>): Promise<T>;
}

type Settled<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly thrown: unknown };

/** While a trial call is out, the others look again after this long at most. */
const LOOK_AGAIN_MS = 1_000;

export function createCallBreaker(
  service: string,
  { failures, halfOpenAfterMs }: BreakerRule,
  clock: Clock,
): CallBreaker {
  const policy = circuitBreaker(handleAll, {
    // `check` decides when a trial is due, by our clock. Cockatiel's is `Date.now`, which may be set back.
    halfOpenAfter: Number.NEGATIVE_INFINITY,
    breaker: new ConsecutiveBreaker(failures),
  });
  const lookAgainMs = Math.min(LOOK_AGAIN_MS, halfOpenAfterMs);
  let openedMs = 0;
  policy.onBreak(() => {
    openedMs = clock.now();
  });
  const open = (waitMs: number, options?: ErrorOptions): CachewrightError =>
    fail('E_SOURCE_OPEN', { service, retryAfterMs: Math.ceil(waitMs) }, options);

  function check(): void {
    // Cockatiel would let callers wait for the trial's end; they would pile up there and then go off all at once.
    if (policy.state === CircuitState.HalfOpen) throw open(lookAgainMs);
    const waitMs = openedMs + halfOpenAfterMs - clock.now();
    if (policy.state === CircuitState.Open && waitMs > 0) throw open(waitMs);
  }

  return {
    check,

    async run<T>(call: () => Promise<T>): Promise<T> {
      check();
      const isTrial = policy.state === CircuitState.Open;
      // To cockatiel only an outage is a failure: an answer that is of no use (404, not JSON) still is an answer.
      const settle = async (): Promise<Settled<T>> => {
        try {
          return { ok: true, value: await call() };
        } catch (thrown) {
          if (isOutage(thrown) || (isTrial && isAborted(thrown))) throw thrown;
          return { ok: false, thrown };
        }
      };
      const settled = await policy.execute(settle).catch((thrown: unknown) => {
        // The runs of a trial have waited; that the source is still out is no failure of theirs.
        throw isTrial && isOutage(thrown) ? open(halfOpenAfterMs, { cause: thrown }) : thrown;
      });
      if (settled.ok) return settled.value;
      throw settled.thrown;
    },
  };
}

/** Adapters say `outage: true` in the details of `E_FETCH_FAILED` when the source did not answer, or with a 5xx. */
function isOutage(thrown: unknown): boolean {
  if (!(thrown instanceof CachewrightError)) return false;
  return thrown.code === 'E_FETCH_TIMEOUT' || thrown.details['outage'] === true;
}

/** A trial that was called off has shown nothing: the breaker opens again. */
function isAborted(thrown: unknown): boolean {
  return thrown instanceof CachewrightError && thrown.code === 'E_ABORTED';
}
