import { fail } from './errors.ts';
import type { Clock } from './ports.ts';

/**
 * The process's clock: the wall clock at start plus the monotonic timer since, so that it never goes back. A step of
 * the machine's clock (NTP, a person) shows only after {@link MAX_DRIFT_MS} of disagreement, and only forwards.
 */
export function systemClock(): Clock {
  let offsetMs = Date.now() - performance.now();
  return {
    now() {
      const wallMs = Date.now();
      const monotonicMs = performance.now() + offsetMs;
      if (wallMs - monotonicMs <= MAX_DRIFT_MS) return monotonicMs;
      offsetMs = wallMs - performance.now();
      return wallMs;
    },
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const aborted = (): void => {
          clearTimeout(timer);
          reject(fail('E_ABORTED', { reason: String(signal?.reason) }));
        };
        if (signal?.aborted === true) {
          reject(fail('E_ABORTED', { reason: String(signal.reason) }));
          return;
        }
        const timer = setTimeout(() => {
          signal?.removeEventListener('abort', aborted);
          resolve();
        }, ms);
        signal?.addEventListener('abort', aborted, { once: true });
      }),
    random: () => Math.random(),
  };
}

/** How far the wall clock may run ahead before it is believed, milliseconds. */
const MAX_DRIFT_MS = 1_000;
