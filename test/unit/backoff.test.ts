import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, type BackoffRule } from '../../src/core/backoff.ts';

const rule: BackoffRule = { initialMs: 100, factor: 2, maxMs: 30_000, jitter: 0.2 };
const MIDDLE = 0.5;

describe('the wait before the next attempt', () => {
  it('doubles from failure to failure and stops growing at its cap', () => {
    const waits = [1, 2, 3, 4, 9, 10, 11, 1_000].map((failures) => backoffMs(rule, failures, MIDDLE));
    expect(waits).toEqual([100, 200, 400, 800, 25_600, 30_000, 30_000, 30_000]);
  });

  it('strays from its step by no more than the jitter, to both sides', () => {
    expect(backoffMs(rule, 1, 0)).toBe(80);
    expect(backoffMs(rule, 1, 0.999_999)).toBe(120);
  });

  it('is the step itself without jitter', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
        expect(backoffMs({ ...rule, jitter: 0 }, 3, random)).toBe(400);
      }),
    );
  });

  it('is always a whole, finite, non-negative number of milliseconds', () => {
    const anyRule = fc.record({
      initialMs: fc.nat({ max: 60_000 }),
      factor: fc.double({ min: 1, max: 100, noNaN: true }),
      maxMs: fc.nat({ max: 86_400_000 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(anyRule, fc.integer({ min: 1, max: 1_000_000 }), random, (any, failures, at) => {
        const wait = backoffMs(any, failures, at);
        expect(Number.isSafeInteger(wait)).toBe(true);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(2 * any.maxMs + 1);
      }),
    );
  });
});
