import { fail } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Goes on to a time, epoch milliseconds, and wakes who sleeps until then; never goes back. */
  advanceTo(ms: number): void;
  /** When the next sleeper wakes, epoch milliseconds; undefined: nobody sleeps. */
  nextMs(): number | undefined;
}

interface Sleeper {
  readonly untilMs: number;
  readonly wake: () => void;
}

/**
 * @param startMs where it stands at first, epoch milliseconds
 * @param random what `random()` answers, in [0, 1), or a generator; 0.5 takes the jitter out of every backoff. @defaultValue 0.5
 */
export function createVirtualClock(startMs: number, random: number | (() => number) = 0.5): VirtualClock {
  let nowMs = startMs;
  const sleepers = new Set<Sleeper>();
  return {
    now: () => nowMs,
    random: typeof random === 'number' ? () => random : random,
    sleep(ms, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const aborted = (): void => reject(fail('E_ABORTED', { reason: String(signal?.reason) }));
      if (signal?.aborted === true) aborted();
      else if (ms <= 0) resolve();
      const sleeper: Sleeper = { untilMs: nowMs + ms, wake: resolve };
      sleepers.add(sleeper);
      signal?.addEventListener('abort', aborted, { once: true });
      return promise.finally(() => {
        sleepers.delete(sleeper);
        signal?.removeEventListener('abort', aborted);
      });
    },
    advanceTo(ms) {
      nowMs = Math.max(nowMs, ms);
      for (const { untilMs, wake } of sleepers) if (untilMs <= nowMs) wake();
    },
    nextMs() {
      let next: number | undefined;
      for (const { untilMs } of sleepers) if (next === undefined || untilMs < next) next = untilMs;
      return next;
    },
  };
}
