import { asError, type CachewrightError, fail } from '../core/errors.ts';
import type { Clock, LeaseWord, ReadLeases } from '../core/ports.ts';

export interface LeaseOptions {
  readonly leases: ReadLeases;
  readonly clock: Clock;
  /** How long a lease outlives its holder: so long a killed one keeps the others waiting, milliseconds. */
  readonly leaseMs: number;
  /** How long one waits for another's fetch at most, milliseconds. */
  readonly maxWaitMs: number;
  /** How long a failure is told to others, so that a thousand readers do not each ask a source that is down, milliseconds. */
  readonly failureMs: number;
}

/** First and longest pause between two looks at a lease that is another's, milliseconds. */
const FIRST_LOOK_MS = 4;
const MAX_LOOK_MS = 50;

/** Keeps leases alive while the source is asked. Returns how to stop. */
export function keepLeases(
  { leases, clock, leaseMs }: LeaseOptions,
  keys: readonly string[],
  token: string,
): () => void {
  const stop = new AbortController();
  const renew = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(leaseMs / 3, stop.signal);
      // Not renewed in time it ends, and another asks too: the fence decides between both.
      await leases.renew(keys, token, leaseMs).catch(() => undefined);
    }
  };
  renew().catch(() => undefined);
  return () => stop.abort();
}

/** What a holder leaves behind after a failure: word for the others, unless it was its own trouble. */
export function wordOfFailure(error: CachewrightError, failureMs: number): LeaseWord {
  const isOwn = error.code === 'E_SOURCE_BUSY' || error.code === 'E_ABORTED' || error.code === 'E_REDIS_READ';
  return isOwn ? { kind: 'free' } : { kind: 'failed', error, ttlMs: failureMs };
}

/** What ended a wait. */
export type WaitEnd =
  /** Nobody holds it: the result is in Redis, or its holder died. */
  | { readonly kind: 'free' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

/** Looks at another's lease, more and more seldom, until it is over. Never rejects. */
export async function waitForLease(
  { leases, clock, maxWaitMs }: LeaseOptions,
  key: string,
  service: string,
): Promise<WaitEnd> {
  const untilMs = clock.now() + maxWaitMs;
  try {
    for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(MAX_LOOK_MS, pauseMs * 2)) {
      await clock.sleep(pauseMs);
      const state = await leases.look(key);
      if (state === undefined) return { kind: 'free' };
      if (state.kind !== 'held') return state;
      if (clock.now() > untilMs) break;
    }
  } catch (thrown) {
    return { kind: 'failed', error: asError(thrown) };
  }
  return { kind: 'failed', error: fail('E_FETCH_TIMEOUT', { service, timeoutMs: maxWaitMs }) };
}
