import { BrokenCircuitError, CircuitState, circuitBreaker, ConsecutiveBreaker, handleAll } from 'cockatiel';
import { CachewrightError } from '../core/errors.ts';

export interface BreakerRule {
  /** Outages in a row that open the breaker. */
  readonly failures: number;
  /** How long it stays open before one call tries again, milliseconds. */
  readonly halfOpenAfterMs: number;
}

/** Leaves a source alone that is out: open, it refuses every call; half open, it lets one through to see. */
export interface CallBreaker {
  /** Milliseconds to wait before it is worth asking again; 0: a call may go. */
  waitMs(): number;
  /** Runs the call, which begins before this returns. Throws what the call throws, or {@link BreakerOpen}. */
  run<T>(call: () => Promise<T>): Promise<T>;
}

/** Cockatiel refused: by its own clock the breaker is still open. */
export class BreakerOpen extends Error {
  override readonly name = 'BreakerOpen';
}

type Settled<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly thrown: unknown };

/** While a trial call is out, or when two clocks disagree by a little, the others look again after this long at most. */
const LOOK_AGAIN_MS = 1_000;

export function createCallBreaker({ failures, halfOpenAfterMs }: BreakerRule): CallBreaker {
  const policy = circuitBreaker(handleAll, {
    halfOpenAfter: halfOpenAfterMs,
    breaker: new ConsecutiveBreaker(failures),
  });
  const lookAgainMs = Math.min(LOOK_AGAIN_MS, halfOpenAfterMs);
  let openedMs = 0;
  policy.onBreak(() => {
    openedMs = performance.now();
  });

  return {
    waitMs() {
      // Cockatiel would let callers wait for the trial's end; they would pile up here and then go off all at once.
      if (policy.state === CircuitState.HalfOpen) return lookAgainMs;
      if (policy.state !== CircuitState.Open) return 0;
      return Math.max(0, openedMs + halfOpenAfterMs - performance.now());
    },

    async run<T>(call: () => Promise<T>): Promise<T> {
      // To cockatiel only an outage is a failure: an answer that is of no use (404, not JSON) still is an answer.
      const settle = async (): Promise<Settled<T>> => {
        const isTrial = policy.state === CircuitState.HalfOpen;
        try {
          return { ok: true, value: await call() };
        } catch (thrown) {
          if (isOutage(thrown) || (isTrial && isAborted(thrown))) throw thrown;
          return { ok: false, thrown };
        }
      };
      const settled = await policy.execute(settle).catch((thrown: unknown) => {
        throw thrown instanceof BrokenCircuitError ? new BreakerOpen() : thrown;
      });
      if (settled.ok) return settled.value;
      throw settled.thrown;
    },
  };
}

/** The longest a caller is sent away for when cockatiel itself refused. */
export function breakerPauseMs(rule: BreakerRule): number {
  return Math.min(LOOK_AGAIN_MS, rule.halfOpenAfterMs);
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
