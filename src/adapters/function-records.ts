import type { CallGate } from './call-gate.ts';
import { failedRecord } from './join-by-id.ts';
import { asError, CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

export interface FunctionRecordsOptions {
  readonly service: string;
  /** Reads one record; undefined or null: there is none. Has to stop when the signal fires. */
  readonly fetch?: ((id: string, signal: AbortSignal) => Promise<unknown>) | undefined;
  /**
   * Reads many at once: a map from id to record, or an object whose names are ids. An id that is not in it has none.
   * Without it `fetch` is called once per id; with both, one id is read by `fetch` and several by this.
   */
  readonly fetchMany?: ((ids: readonly string[], signal: AbortSignal) => Promise<unknown>) | undefined;
  readonly gate: CallGate;
}

/**
 * Records of a user's function. A string is a record's JSON text and is kept as it is, so that numbers beyond 2^53
 * survive; any other value is serialised.
 */
export function createFunctionRecords(options: FunctionRecordsOptions): RecordSource {
  const { service, fetch, fetchMany, gate } = options;

  /** Everything the function throws is the source's failure, except errors of the catalogue and being stopped. */
  async function call<T>(signal: AbortSignal, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return gate.run(signal, async (callSignal) => {
      try {
        return await read(callSignal);
      } catch (thrown) {
        if (thrown instanceof CachewrightError) throw thrown;
        throw fail('E_FETCH_FAILED', { service, reason: reasonOf(thrown), outage: true }, { cause: thrown });
      }
    });
  }

  async function readOne(
    read: NonNullable<typeof fetch>,
    id: string,
    signal: AbortSignal,
  ): Promise<FetchOutcome> {
    try {
      return outcomeOf(service, id, await call(signal, (callSignal) => read(id, callSignal)));
    } catch (thrown) {
      return { kind: 'failed', error: asError(thrown) };
    }
  }

  async function readMany(
    read: NonNullable<typeof fetchMany>,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<FetchOutcome[]> {
    try {
      const found = recordsById(service, await call(signal, (callSignal) => read(ids, callSignal)));
      return ids.map((id) => outcomeOf(service, id, found.get(id)));
    } catch (thrown) {
      const error = asError(thrown);
      return ids.map(() => ({ kind: 'failed', error }));
    }
  }

  return {
    async fetchMany(requests, signal) {
      const ids = requests.map(({ id }) => id);
      if (ids.length === 0) return [];
      if (fetchMany !== undefined && (ids.length > 1 || fetch === undefined))
        return readMany(fetchMany, ids, signal);
      if (fetch !== undefined) return Promise.all(ids.map((id) => readOne(fetch, id, signal)));
      const error = fail('E_FETCH_FAILED', { service, reason: 'it has neither fetch nor fetchMany' });
      return ids.map(() => ({ kind: 'failed', error }));
    },
    async close() {},
  };
}

/** Keys of a map are compared as text: `map.set(row.id, row)` with a number is what everybody writes. */
function recordsById(service: string, found: unknown): ReadonlyMap<string, unknown> {
  if (found instanceof Map) return new Map([...found].map(([id, record]) => [String(id), record]));
  if (typeof found === 'object' && found !== null && !Array.isArray(found))
    return new Map(Object.entries(found));
  const reason = 'fetchMany has to give a Map from id to record: answers are joined by id, never by position';
  throw fail('E_FETCH_FAILED', { service, reason });
}

function outcomeOf(service: string, id: string, record: unknown): FetchOutcome {
  if (record === undefined || record === null) return { kind: 'absent' };
  try {
    const text = textOf(record);
    if (text === undefined) return failedRecord(service, id, `a ${typeof record} is no JSON`);
    if (text.trim() === 'null') return failedRecord(service, id, 'it is null');
    return { kind: 'record', text };
  } catch (thrown) {
    const issues =
      typeof record === 'string' ? `a string has to be JSON text: ${reasonOf(thrown)}` : reasonOf(thrown);
    return failedRecord(service, id, issues);
  }
}

/** Text stays as it is, once it is known to be JSON that survives the way to Redis. */
function textOf(record: unknown): string | undefined {
  if (typeof record !== 'string') return JSON.stringify(record);
  JSON.parse(record);
  if (!record.isWellFormed()) throw new Error('it holds half a character (a lone surrogate)');
  return record;
}
