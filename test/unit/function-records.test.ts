import { describe, expect, it } from 'vitest';
import { createFunctionRecords, type FunctionRecordsOptions } from '../../src/adapters/function-records.ts';
import { fail } from '../../src/core/errors.ts';
import type { FetchOutcome } from '../../src/core/ports.ts';

function ask(
  functions: Omit<FunctionRecordsOptions, 'service' | 'gate'>,
  ...ids: string[]
): Promise<FetchOutcome[]> {
  const gate: FunctionRecordsOptions['gate'] = { run: (signal, call) => call(signal) };
  const source = createFunctionRecords({ service: 'shops', gate, ...functions });
  return source.fetchMany(
    ids.map((id) => ({ id })),
    new AbortController().signal,
  );
}

const codes = (outcomes: readonly FetchOutcome[]): string[] =>
  outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error.code : outcome.kind));

describe('what a function of the user gives', () => {
  it('is serialised, unless it is a string: that is the JSON text itself', async () => {
    const values: Readonly<Record<string, unknown>> = {
      object: { v: 1 },
      text: '{"v": 9007199254740993}',
      list: [1],
      number: 0,
      no: false,
      date: new Date(0),
    };
    const texts = await ask({ fetch: async (id) => values[id] }, ...Object.keys(values));
    expect(texts.map((outcome) => outcome.kind === 'record' && outcome.text)).toEqual([
      '{"v":1}',
      '{"v": 9007199254740993}',
      '[1]',
      '0',
      'false',
      '"1970-01-01T00:00:00.000Z"',
    ]);
  });

  it('is no record when it is undefined or null', async () => {
    expect(codes(await ask({ fetch: async (id) => (id === '1' ? undefined : null) }, '1', '2'))).toEqual([
      'absent',
      'absent',
    ]);
  });

  it('fails alone when it cannot be a record', async () => {
    const circle: Record<string, unknown> = {};
    circle['itself'] = circle;
    const values: Readonly<Record<string, unknown>> = {
      text: 'Hello',
      empty: '',
      big: { v: 1n },
      circle,
      symbol: Symbol('x'),
      function: () => 1,
      fine: {},
    };
    const ids = Object.keys(values);
    const expected = ids.map((id) => (id === 'fine' ? 'record' : 'E_RECORD_INVALID'));
    expect(codes(await ask({ fetch: async (id) => values[id] }, ...ids))).toEqual(expected);
    const fetchMany = async (): Promise<unknown> => new Map(Object.entries(values));
    expect(codes(await ask({ fetchMany }, ...ids))).toEqual(expected);
  });

  it('may be a map by text or number, or an object, but not a list', async () => {
    const maps: unknown[] = [
      new Map([['1', { v: 1 }]]),
      new Map([[1, { v: 1 }]]),
      new Map([[1n, { v: 1 }]]),
      { 1: { v: 1 } },
    ];
    for (const map of maps) {
      const outcomes = await ask({ fetchMany: async () => map }, '1', '2', 'constructor');
      expect(outcomes).toEqual([{ kind: 'record', text: '{"v":1}' }, { kind: 'absent' }, { kind: 'absent' }]);
    }
    for (const wrong of [[{ v: 1 }], undefined, null, 'text', 7]) {
      const outcomes = await ask({ fetchMany: async () => wrong }, '1', '2');
      expect(codes(outcomes)).toEqual(['E_FETCH_FAILED', 'E_FETCH_FAILED']);
    }
  });
});

describe('a function of the user that throws', () => {
  it('fails the id it was called for, and says why', async () => {
    const fetch = async (id: string): Promise<unknown> => {
      if (id === '2') throw new Error('no such shop service');
      return { id };
    };
    const outcomes = await ask({ fetch }, '1', '2', '3');
    expect(codes(outcomes)).toEqual(['record', 'E_FETCH_FAILED', 'record']);
    expect(outcomes[1]?.kind === 'failed' && outcomes[1].error.message).toContain('no such shop service');
  });

  it('before it gives a promise is treated alike', async () => {
    const fetch = (): Promise<unknown> => {
      throw new Error('at once');
    };
    expect(codes(await ask({ fetch }, '1'))).toEqual(['E_FETCH_FAILED']);
  });

  it('with an error of the catalogue says what happens next', async () => {
    const error = fail('E_SOURCE_BUSY', { service: 'shops', limit: 'its own', retryAfterMs: 5 });
    for (const functions of [
      { fetch: () => Promise.reject(error) },
      { fetchMany: () => Promise.reject(error) },
    ]) {
      expect(await ask(functions, '1')).toEqual([{ kind: 'failed', error }]);
    }
  });
});

describe('of the two functions', () => {
  it('several ids go to fetchMany, one id to fetch', async () => {
    const called: string[] = [];
    const functions = {
      fetch: async (id: string): Promise<unknown> => void called.push(`one ${id}`),
      fetchMany: async (ids: readonly string[]): Promise<unknown> => {
        called.push(`many ${ids.join(' ')}`);
        return new Map();
      },
    };
    await ask(functions, '1');
    await ask(functions, '1', '2');
    await ask({ fetchMany: functions.fetchMany }, '1');
    await ask({ fetch: functions.fetch }, '1', '2');
    expect(called).toEqual(['one 1', 'many 1 2', 'many 1', 'one 1', 'one 2']);
  });
});
