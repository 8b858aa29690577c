/** Capped exponential backoff with full-range jitter kept within ±`jitter` of the step. */
export interface BackoffRule {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** 0 – 1: how far a wait may stray from its step, so that a thousand runs do not come back at one instant. */
  readonly jitter: number;
}

/**
 * The wait before the next attempt.
 *
 * @param failures attempts that have failed so far, ≥ 1
 * @param random a number in [0, 1)
 * @returns milliseconds
 */
export function backoffMs(rule: BackoffRule, failures: number, random: number): number {
  const step = Math.min(rule.maxMs, rule.initialMs * rule.factor ** Math.min(failures - 1, 64));
  return Math.max(0, Math.round(step * (1 + rule.jitter * (2 * random - 1))));
}
