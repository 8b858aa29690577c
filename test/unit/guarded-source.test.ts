import { describe, expect, it } from 'vitest';
import { requestsFor } from '../support/calls.ts';
import { codeOf, guarded, guardLimits, outage } from '../support/guarded-source.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createMemoryRecords } from '../../src/adapters/memory-records.ts';
import { asError } from '../../src/core/errors.ts';
import type { FetchOutcome, RecordSource } from '../../src/core/ports.ts';

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
      guardLimits,
    );
    const outcomes = await source.fetchMany(requestsFor(2), new AbortController().signal);
    expect(outcomes.map(codeOf)).toEqual(['E_UNEXPECTED', 'E_UNEXPECTED']);
  });

  it('tells its adapter how long one call may take, at most seven tenths of the effect', () => {
    const timeoutOf = (options: Partial<GuardOptions>): number => {
      let timeoutMs = Number.NaN;
      guardSource(
        (guard) => {
          ({ timeoutMs } = guard);
          return createMemoryRecords(guard);
        },
        { ...guardLimits, ...options },
      );
      return timeoutMs;
    };
    expect(timeoutOf({ timeoutMs: 700, effectTimeoutMs: 1_000 })).toBe(700);
    expect(timeoutOf({ timeoutMs: 1_000, effectTimeoutMs: 1_000 })).toBe(700);
  });

  it.each([333, 334, 335])(
    'is asked within an effect of %d ms, though its shares are fractions',
    async (ms) => {
      const { memory, ask } = guarded({ effectTimeoutMs: ms });
      expect(codeOf(await ask())).toBe('record');
      memory.setLatency(10_000);
      const outcome = await ask();
      expect(codeOf(outcome)).toBe('E_FETCH_TIMEOUT');
      expect(outcome.kind === 'failed' && outcome.error.details['timeoutMs']).toBe(Math.round(ms * 0.7));
    },
  );

  it('is cut off before the effect ends, and what was answered by then is kept', async () => {
    /** Asks as many times in a row, 300 ms each, as the id says. */
    const source = guardSource(
      ({ gate }) => ({
        fetchMany: (requests, signal) =>
          Promise.all(
            requests.map(async ({ id }): Promise<FetchOutcome> => {
              try {
                for (let calls = 0; calls < Number(id); calls += 1)
                  await gate.run(signal, (callSignal) => guardLimits.clock.sleep(300, callSignal));
                return { kind: 'absent' };
              } catch (thrown) {
                return { kind: 'failed', error: asError(thrown) };
              }
            }),
          ),
        close: async () => undefined,
      }),
      { ...guardLimits, effectTimeoutMs: 500 },
    );
    const outcomes = await source.fetchMany([{ id: '1' }, { id: '2' }], new AbortController().signal);
    expect(outcomes.map(codeOf)).toEqual(['absent', 'E_ABORTED']);
  });
});
