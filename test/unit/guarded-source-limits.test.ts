import { describe, expect, it } from 'vitest';
import { mostAtOnce, mostPerSecond } from '../support/calls.ts';
import { codeOf, guarded, retryAfterMs, timed, until } from '../support/guarded-source.ts';
import { fail } from '../../src/core/errors.ts';

describe('the limits of a guarded source', () => {
  it('let no more calls be under way than the concurrency, and that many', async () => {
    const { spans, askTimes } = timed({ concurrency: 3 }, (index) => (index % 4) * 3);
    await askTimes(100);
    expect(spans).toHaveLength(100);
    expect(mostAtOnce(spans)).toBe(3);
  });

  it('let no more calls begin, arrive or end in any one second than the rate', async () => {
    const { spans, askTimes } = timed(
      { perSecond: 20, effectTimeoutMs: 25_000 },
      (index) => (index % 5) * 20,
    );
    const outcomes = await askTimes(50);
    expect(outcomes.flat().map(codeOf)).toEqual(Array.from({ length: 50 }, () => 'absent'));
    expect(mostPerSecond(spans.map(({ fromMs }) => fromMs))).toBeLessThanOrEqual(20);
    expect(mostPerSecond(spans.map(({ untilMs }) => untilMs))).toBeLessThanOrEqual(20);
    // The worst a network can do: each call arrives as late, or as early, as it may.
    const arrivals = spans.map(({ fromMs, untilMs }, index) => (index % 2 === 0 ? untilMs : fromMs));
    expect(mostPerSecond(arrivals)).toBeLessThanOrEqual(20);
  });

  it('let calls wait far apart when the rate is below one a second', async () => {
    const { spans, askTimes } = timed({ perSecond: 0.5, effectTimeoutMs: 5_000 }, () => 0);
    const outcomes = (await askTimes(2)).flat();
    expect(spans).toHaveLength(1);
    expect(outcomes.map(codeOf)).toEqual(['absent', 'E_SOURCE_BUSY']);
  });

  it('send a call away at once that would wait too long for the rate, and say for how long', async () => {
    const { askTimes } = timed({ perSecond: 10, effectTimeoutMs: 7_500 }, () => 1);
    const startedMs = performance.now();
    const calls = askTimes(40);
    const refused = (await calls).flat().filter(({ kind }) => kind === 'failed');
    // Ten now, ten a second later, ten would come after two seconds and more.
    expect(refused).toHaveLength(20);
    expect(performance.now() - startedMs).toBeLessThan(1_900);
    for (const outcome of refused) {
      expect(codeOf(outcome)).toBe('E_SOURCE_BUSY');
      expect(retryAfterMs(outcome)).toBeGreaterThan(1_500);
    }
  });

  it('send a call away that waited too long for its turn, without a failure of its own', async () => {
    const { askTimes } = timed({ concurrency: 1, effectTimeoutMs: 1_000 }, () => 400);
    const outcomes = (await askTimes(3)).flat();
    expect(outcomes.map(codeOf)).toEqual(['absent', 'E_SOURCE_BUSY', 'E_SOURCE_BUSY']);
    for (const outcome of outcomes.slice(1)) {
      expect(outcome.kind === 'failed' && outcome.error.outcome).toBe('wait');
      expect(retryAfterMs(outcome)).toBeGreaterThan(0);
    }
  });

  it('send a call away at once when too many wait already', async () => {
    const { spans, askTimes } = timed({ concurrency: 1, maxWaiting: 2 }, () => 5);
    const outcomes = (await askTimes(5)).flat();
    expect(outcomes.map(codeOf).sort()).toEqual([
      'E_SOURCE_BUSY',
      'E_SOURCE_BUSY',
      'absent',
      'absent',
      'absent',
    ]);
    expect(spans).toHaveLength(3);
  });

  it('free the place of a call that was stopped while it waited', async () => {
    const { memory, source, ask } = guarded({ concurrency: 1 });
    memory.setLatency(50);
    const first = ask();
    const stop = new AbortController();
    const second = source.fetchMany([{ id: '1' }], stop.signal);
    stop.abort(new Error('shutting down'));
    expect(codeOf((await second)[0])).toBe('E_ABORTED');
    expect(codeOf(await first)).toBe('record');
    expect(codeOf(await ask())).toBe('record');
    expect(memory.calls).toHaveLength(2);
  });

  it('rest after a source asked for a pause', async () => {
    const { memory, ask } = guarded({ effectTimeoutMs: 100 });
    memory.failWith(fail('E_FETCH_FAILED', { service: 'shops', reason: 'HTTP 429', retryAfterMs: 200 }));
    expect(codeOf(await ask())).toBe('E_FETCH_FAILED');
    memory.failWith(undefined);
    const refused = await ask();
    expect(codeOf(refused)).toBe('E_SOURCE_BUSY');
    expect(retryAfterMs(refused)).toBeLessThanOrEqual(200);
    await until(async () => codeOf(await ask()) === 'record');
    expect(memory.calls).toHaveLength(2);
  });
});

describe('the timeout of a guarded source', () => {
  it('stops a call that takes too long, and gives its turn on', async () => {
    const { memory, ask } = guarded({ timeoutMs: 30, concurrency: 1 });
    memory.setLatency(10_000);
    const outcome = await ask();
    expect(codeOf(outcome)).toBe('E_FETCH_TIMEOUT');
    memory.setLatency(0);
    expect(codeOf(await ask())).toBe('record');
  });

  it('answers in time even when the call never listens, and holds its turn a while longer', async () => {
    const { spans, askTimes } = timed({ timeoutMs: 100, concurrency: 1 }, () => 150);
    const outcomes = (await askTimes(2)).flat();
    expect(outcomes.map(codeOf)).toEqual(['E_FETCH_TIMEOUT', 'E_FETCH_TIMEOUT']);
    await until(() => spans.every(({ untilMs }) => Number.isFinite(untilMs)));
    expect(mostAtOnce(spans)).toBe(1);
  });

  it('does not count the wait for a turn', async () => {
    const { askTimes } = timed({ timeoutMs: 60, concurrency: 1 }, () => 30);
    expect((await askTimes(6)).flat().map(codeOf)).toEqual(Array.from({ length: 6 }, () => 'absent'));
  });
});
