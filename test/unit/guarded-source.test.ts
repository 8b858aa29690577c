import { describe, expect, it } from 'vitest';
import { mostAtOnce, mostPerSecond, requestsFor, type Span } from '../support/calls.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createMemoryRecords, type MemoryRecords } from '../../src/adapters/memory-records.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';
import type { FetchOutcome, RecordSource } from '../../src/core/ports.ts';

const limits: GuardOptions = {
  service: 'shops',
  timeoutMs: 1_000,
  concurrency: 8,
  perSecond: undefined,
  breaker: { failures: 3, halfOpenAfterMs: 100 },
  clock: systemClock(),
};

/** A guarded fake, and a way to ask it for one id. */
function guarded(options: Partial<GuardOptions> = {}): {
  memory: MemoryRecords;
  source: RecordSource;
  ask: (id?: string, signal?: AbortSignal) => Promise<FetchOutcome>;
} {
  let memory = createMemoryRecords();
  const source = guardSource((gate) => (memory = createMemoryRecords({ gate })), { ...limits, ...options });
  memory.put('1', { id: '1' });
  const ask = async (id = '1', signal = new AbortController().signal): Promise<FetchOutcome> =>
    (await source.fetchMany([{ id }], signal))[0] ?? { kind: 'absent' };
  return { memory, source, ask };
}

/** A guarded source whose calls are timed; each takes `callMs(index)`. */
function timed(options: Partial<GuardOptions>, callMs: (index: number) => number) {
  const spans: Span[] = [];
  const source = guardSource(
    (gate) => ({
      fetchMany: (requests, signal) =>
        gate.run(signal, async () => {
          const span = { fromMs: performance.now(), untilMs: Number.POSITIVE_INFINITY };
          spans.push(span);
          await new Promise((resolve) => setTimeout(resolve, callMs(spans.length)));
          span.untilMs = performance.now();
          return requests.map(() => ({ kind: 'absent' }) as const);
        }),
      close: async () => undefined,
    }),
    { ...limits, ...options },
  );
  const askTimes = (times: number): Promise<FetchOutcome[][]> =>
    Promise.all(
      Array.from({ length: times }, () => source.fetchMany([{ id: '1' }], new AbortController().signal)),
    );
  return { spans, askTimes };
}

const codeOf = (outcome: FetchOutcome | undefined): string =>
  outcome?.kind === 'failed' ? outcome.error.code : String(outcome?.kind);
const retryAfterMs = (outcome: FetchOutcome): number =>
  outcome.kind === 'failed' ? Number(outcome.error.details['retryAfterMs']) : Number.NaN;
const outage = fail('E_FETCH_FAILED', { service: 'shops', reason: 'connection refused', outage: true });

describe('the limits of a guarded source', () => {
  it('let no more calls be under way than the concurrency, and that many', async () => {
    const { spans, askTimes } = timed({ concurrency: 3 }, (index) => (index % 4) * 3);
    await askTimes(100);
    expect(spans).toHaveLength(100);
    expect(mostAtOnce(spans)).toBe(3);
  });

  it('let no more calls begin, arrive or end in any one second than the rate', async () => {
    const { spans, askTimes } = timed({ perSecond: 20, maxWaitMs: 5_000 }, (index) => (index % 5) * 20);
    const outcomes = await askTimes(50);
    expect(outcomes.flat().map(codeOf)).toEqual(Array.from({ length: 50 }, () => 'absent'));
    expect(mostPerSecond(spans.map(({ fromMs }) => fromMs))).toBeLessThanOrEqual(20);
    expect(mostPerSecond(spans.map(({ untilMs }) => untilMs))).toBeLessThanOrEqual(20);
    // The worst a network can do: each call arrives as late, or as early, as it may.
    const arrivals = spans.map(({ fromMs, untilMs }, index) => (index % 2 === 0 ? untilMs : fromMs));
    expect(mostPerSecond(arrivals)).toBeLessThanOrEqual(20);
  });

  it('let calls wait far apart when the rate is below one a second', async () => {
    const { spans, askTimes } = timed({ perSecond: 0.5, maxWaitMs: 1_000 }, () => 0);
    const outcomes = (await askTimes(2)).flat();
    expect(spans).toHaveLength(1);
    expect(outcomes.map(codeOf)).toEqual(['absent', 'E_SOURCE_BUSY']);
  });

  it('send a call away at once that would wait too long for the rate, and say for how long', async () => {
    const { askTimes } = timed({ perSecond: 10, maxWaitMs: 1_500 }, () => 1);
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
    const { askTimes } = timed({ concurrency: 1, maxWaitMs: 30 }, () => 200);
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
    const { memory, ask } = guarded({ maxWaitMs: 20 });
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

describe('the breaker of a guarded source', () => {
  it('opens after failures in a row, then asks nothing, and says when to come back', async () => {
    const { memory, ask } = guarded({ breaker: { failures: 3, halfOpenAfterMs: 5_000 } });
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) expect(codeOf(await ask())).toBe('E_FETCH_FAILED');
    const refused = await ask();
    expect(codeOf(refused)).toBe('E_SOURCE_OPEN');
    expect(retryAfterMs(refused)).toBeGreaterThan(4_000);
    expect(retryAfterMs(refused)).toBeLessThanOrEqual(5_000);
    expect(memory.calls).toHaveLength(3);
  });

  it('closes again when one trial call is answered, and lets only that one through', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    memory.failWith(undefined);
    memory.setLatency(30);
    await until(async () => {
      const outcomes = await Promise.all([ask(), ask(), ask()]);
      return outcomes.some(({ kind }) => kind === 'record');
    });
    expect(memory.calls).toHaveLength(4);
    expect(codeOf(await ask())).toBe('record');
  });

  it('opens again when the trial fails', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    await until(async () => codeOf(await ask()) === 'E_FETCH_FAILED');
    expect(memory.calls).toHaveLength(4);
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
  });

  it('opens again when the trial is called off, since nothing is known then', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    memory.setLatency(10_000);
    const stop = new AbortController();
    await until(async () => {
      const trial = ask('1', stop.signal);
      await new Promise(setImmediate);
      if (memory.calls.length === 4) stop.abort(new Error('shutting down'));
      return codeOf(await trial) === 'E_ABORTED';
    });
    memory.setLatency(0);
    memory.failWith(undefined);
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
    await until(async () => codeOf(await ask()) === 'record');
  });

  it('opens on timeouts', async () => {
    const { memory, ask } = guarded({ timeoutMs: 10 });
    memory.setLatency(10_000);
    for (let i = 0; i < 3; i += 1) expect(codeOf(await ask())).toBe('E_FETCH_TIMEOUT');
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
  });

  it('stays closed when answers are of no use, or records are not there', async () => {
    const { memory, ask } = guarded();
    for (const code of ['E_FETCH_NOT_JSON', 'E_FETCH_TOO_LARGE', 'E_FETCH_REDIRECTED'] as const) {
      memory.failWith(fail(code, { service: 'shops' }));
      for (let i = 0; i < 5; i += 1) expect(codeOf(await ask())).toBe(code);
    }
    memory.failWith(undefined);
    for (let i = 0; i < 5; i += 1) expect(codeOf(await ask('gone'))).toBe('absent');
  });

  it('counts only failures in a row', async () => {
    const { memory, ask } = guarded();
    for (let i = 0; i < 4; i += 1) {
      memory.failWith(outage);
      await ask();
      await ask();
      memory.failWith(undefined);
      expect(codeOf(await ask())).toBe('record');
    }
  });

  it('of one source does not keep another from being asked', async () => {
    const down = guarded();
    const up = guarded();
    down.memory.failWith(outage);
    for (let i = 0; i < 4; i += 1) await down.ask();
    expect(codeOf(await down.ask())).toBe('E_SOURCE_OPEN');
    expect(codeOf(await up.ask())).toBe('record');
  });
});

describe('suspicious absence', () => {
  const ask = (source: RecordSource, count: number): Promise<FetchOutcome[]> =>
    source.fetchMany(requestsFor(count), new AbortController().signal);
  const withRecords = (present: number, options: Partial<GuardOptions> = {}) => {
    const { memory, source } = guarded(options);
    memory.delete('1');
    for (let id = 0; id < present; id += 1) memory.put(String(id), { id });
    return { memory, source };
  };

  it('lets nothing count as gone when most of a batch is, and keeps what is there', async () => {
    const { source } = withRecords(9);
    const outcomes = await ask(source, 20);
    expect(outcomes.slice(0, 9).every(({ kind }) => kind === 'record')).toBe(true);
    expect(new Set(outcomes.slice(9).map(codeOf))).toEqual(new Set(['E_SUSPICIOUS_ABSENCE']));
    const [last] = outcomes.slice(-1);
    expect(last?.kind === 'failed' && last.error.message).toMatch(/^11 of 20 records of shops are gone/);
  });

  it('does not mind half of a batch, or all of a small one', async () => {
    expect((await ask(withRecords(10).source, 20)).map(codeOf).slice(10)).toEqual(
      Array.from({ length: 10 }, () => 'absent'),
    );
    expect(new Set((await ask(withRecords(0).source, 19)).map(codeOf))).toEqual(new Set(['absent']));
  });

  it('can be turned off', async () => {
    const { source } = withRecords(0, { maxAbsentRatio: 1 });
    expect(new Set((await ask(source, 100)).map(codeOf))).toEqual(new Set(['absent']));
  });

  it('looks at what was answered: ids that failed are no sign of presence', async () => {
    const { memory, source } = withRecords(5);
    for (let id = 50; id < 100; id += 1) memory.failWith(outage, String(id));
    const codes = (await ask(source, 100)).map(codeOf);
    expect(codes.slice(5, 50).every((code) => code === 'E_SUSPICIOUS_ABSENCE')).toBe(true);
    expect(codes.slice(50).every((code) => code === 'E_FETCH_FAILED')).toBe(true);
  });
});

describe('a guarded source', () => {
  it('turns what its adapter throws into an outcome of each id', async () => {
    const source = guardSource(
      () => ({ fetchMany: () => Promise.reject(new Error('a bug')), close: async () => undefined }),
      limits,
    );
    const outcomes = await source.fetchMany(requestsFor(2), new AbortController().signal);
    expect(outcomes.map(codeOf)).toEqual(['E_UNEXPECTED', 'E_UNEXPECTED']);
  });
});

/** Asks until it is so; the breaker's and the limiter's time is real here. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { timeout: 5_000, interval: 5 }).toBe(true);
}
