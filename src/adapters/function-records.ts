import { asError, CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';
import type { CallGate } from './call-gate.ts';

export interface FunctionRecordsOptions {
  readonly service: string;
  readonly gate: CallGate;
  readonly fetch: ((id: string, signal: AbortSignal) => Promise<unknown>) | undefined;
  /** An id that is not among the answers has no record. Preferred over `fetch`. */
  readonly fetchMany:
    | ((ids: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, unknown>>)
    | undefined;
}

/**
 * Records from a function of the user's. A string is taken as the record's JSON text and stored as it is; any other
 * value is serialised; undefined and null mean that there is no record.
 */
export function createFunctionRecords({
  service,
  gate,
  fetch,
  fetchMany,
}: FunctionRecordsOptions): RecordSource {
  const one = async (id: string, signal: AbortSignal): Promise<FetchOutcome> => {
    if (fetch === undefined) return { kind: 'absent' };
    try {
      return toOutcome(await gate.run(signal, (inner) => fetch(id, inner)), service);
    } catch (thrown) {
      return { kind: 'failed', error: asError(thrown) };
    }
  };
  return {
    async fetchMany(requests, signal) {
      const ids = requests.map(({ id }) => id);
      if (fetchMany === undefined) return Promise.all(ids.map((id) => one(id, signal)));
      try {
        const answers = await gate.run(signal, (inner) => fetchMany(ids, inner));
        if (!(answers instanceof Map)) {
          throw fail('E_FETCH_FAILED', {
            service,
            reason: 'fetchMany gave no Map from id to record',
            outage: false,
          });
        }
        return ids.map((id) => toOutcome(answers.get(id), service));
      } catch (thrown) {
        const error = asError(thrown);
        return ids.map(() => ({ kind: 'failed', error }));
      }
    },
    close: async () => undefined,
  };
}

function toOutcome(value: unknown, service: string): FetchOutcome {
  if (value === undefined || value === null) return { kind: 'absent' };
  try {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (text === undefined) throw new Error(`a ${typeof value} is no record`);
    JSON.parse(text);
    return { kind: 'record', text };
  } catch (thrown) {
    if (thrown instanceof CachewrightError) return { kind: 'failed', error: thrown };
    return {
      kind: 'failed',
      error: fail('E_FETCH_NOT_JSON', { service, reason: reasonOf(thrown) }, { cause: thrown }),
    };
  }
}
