import { describe, expect, it, vi } from 'vitest';
import { type CallBreaker, createCallBreaker } from '../../src/adapters/call-breaker.ts';
import { CachewrightError, fail } from '../../src/core/errors.ts';
import { createVirtualClock } from '../../src/testing/virtual-clock.ts';

const START_MS = Date.parse('2026-01-01');
const outage = fail('E_FETCH_TIMEOUT', { service: 'shops', timeoutMs: 10 });

async function thrownBy(breaker: CallBreaker, call: () => Promise<unknown>): Promise<CachewrightError> {
  const thrown: unknown = await breaker.run(call).catch((error: unknown) => error);
  if (!(thrown instanceof CachewrightError))
    throw new Error('it threw nothing of the catalogue', { cause: thrown });
  return thrown;
}

/** A breaker that has opened just now, for a minute of a clock that stands still. */
async function opened() {
  const clock = createVirtualClock(START_MS);
  const breaker = createCallBreaker('shops', { failures: 1, halfOpenAfterMs: 60_000 }, clock);
  expect(await thrownBy(breaker, () => Promise.reject(outage))).toBe(outage);
  return { clock, breaker };
}

describe('the call breaker', () => {
  it('measures by the clock it was given, to the millisecond, whatever the wall clock does', async () => {
    const { clock, breaker } = await opened();
    const call = vi.fn<() => Promise<string>>(async () => 'well again');
    clock.advanceTo(START_MS + 59_999);
    const refused = await thrownBy(breaker, call);
    expect([refused.code, refused.details['retryAfterMs']]).toEqual(['E_SOURCE_OPEN', 1]);
    expect(call).not.toHaveBeenCalled();
    clock.advanceTo(START_MS + 60_000);
    vi.useFakeTimers({ toFake: ['Date'], now: 0 });
    try {
      expect(await breaker.run(call)).toBe('well again');
    } finally {
      vi.useRealTimers();
    }
    expect(await breaker.run(call)).toBe('well again');
  });

  it('lets runs wait on, free of charge, when the trial they were waiting for fails', async () => {
    const { clock, breaker } = await opened();
    for (let trial = 1; trial <= 3; trial += 1) {
      clock.advanceTo(START_MS + trial * 60_000);
      const call = vi.fn<() => Promise<never>>(() => Promise.reject(outage));
      const error = await thrownBy(breaker, call);
      expect(call).toHaveBeenCalledTimes(1);
      expect([error.code, error.outcome, error.details['retryAfterMs']]).toEqual([
        'E_SOURCE_OPEN',
        'wait',
        60_000,
      ]);
      expect(error.cause).toBe(outage);
    }
  });

  it('refuses everybody else while a trial is out', async () => {
    const { clock, breaker } = await opened();
    clock.advanceTo(START_MS + 60_000);
    const answer = Promise.withResolvers<string>();
    const trial = breaker.run(() => answer.promise);
    const other = await thrownBy(breaker, async () => 'not asked');
    expect([other.code, other.details['retryAfterMs']]).toEqual(['E_SOURCE_OPEN', 1_000]);
    answer.resolve('well again');
    expect(await trial).toBe('well again');
    expect(await breaker.run(async () => 'asked')).toBe('asked');
  });

  it('closes when the trial is answered with something that is of no use', async () => {
    const { clock, breaker } = await opened();
    clock.advanceTo(START_MS + 60_000);
    const useless = fail('E_FETCH_NOT_JSON', { service: 'shops', reason: 'it is HTML' });
    expect(await thrownBy(breaker, () => Promise.reject(useless))).toBe(useless);
    expect(await breaker.run(async () => 'asked')).toBe('asked');
  });

  it('charges calls that were under way when it opened: they are no trials', async () => {
    const clock = createVirtualClock(START_MS);
    const breaker = createCallBreaker('shops', { failures: 1, halfOpenAfterMs: 60_000 }, clock);
    const answer = Promise.withResolvers<never>();
    const early = thrownBy(breaker, () => answer.promise);
    expect(await thrownBy(breaker, () => Promise.reject(outage))).toBe(outage);
    answer.reject(outage);
    expect(await early).toBe(outage);
  });
});
