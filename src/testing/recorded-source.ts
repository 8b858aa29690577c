import { type CachewrightError, fail } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

/**
 * A record as a source has it: a value, which is sent as JSON, or the exact text, byte for byte. null: there is none.
 */
export type RecordedRecord = object | string | null;

/** What the sources hold, by service and id. An id that is not recorded is absent, as it would be in a database. */
export type Recorded = Readonly<Record<string, Readonly<Record<string, RecordedRecord>>>>;

/** The sources of a harness: change what they hold, or let them fail. */
export interface RecordedSources {
  /** @param version as a source gives it beside the record, like the `version` column of a Postgres query */
  set(service: string, id: string | number, record: RecordedRecord, version?: string): void;
  /** The next `times` fetches of this record fail. @defaultValue once, with `E_FETCH_FAILED` */
  fail(service: string, id: string | number, times?: number, error?: CachewrightError): void;
  /** Every fetch there was: service and ids, in order. */
  readonly fetches: readonly { readonly service: string; readonly ids: readonly string[] }[];
}

interface Content {
  readonly text: string | null;
  readonly version: string | undefined;
}

interface Failure {
  times: number;
  readonly error: CachewrightError;
}

/** Recorded sources, and the source of each service over them. */
export function createRecordedSources(recorded: Recorded): {
  readonly sources: RecordedSources;
  readonly sourceOf: (service: string) => RecordSource;
} {
  const contents = new Map<string, Content>();
  const failures = new Map<string, Failure>();
  const fetches: { service: string; ids: readonly string[] }[] = [];
  const sources: RecordedSources = {
    fetches,
    set(service, id, record, version) {
      const text = record === null || typeof record === 'string' ? record : JSON.stringify(record);
      contents.set(placeOf(service, id), { text, version });
    },
    fail(service, id, times = 1, error) {
      const given = error ?? fail('E_FETCH_FAILED', { service, reason: 'the test asked for a failure' });
      failures.set(placeOf(service, id), { times, error: given });
    },
  };
  for (const [service, records] of Object.entries(recorded)) {
    for (const [id, record] of Object.entries(records)) sources.set(service, id, record);
  }

  const outcomeOf = (service: string, id: string): FetchOutcome => {
    const failure = failures.get(placeOf(service, id));
    if (failure !== undefined && failure.times > 0) {
      failure.times -= 1;
      return { kind: 'failed', error: failure.error };
    }
    const { text = null, version } = contents.get(placeOf(service, id)) ?? {};
    if (text === null) return { kind: 'absent' };
    return { kind: 'record', text, ...(version !== undefined && { version }) };
  };

  return {
    sources,
    sourceOf: (service) => ({
      async fetchMany(requests, signal) {
        signal.throwIfAborted();
        const ids = requests.map(({ id }) => id);
        fetches.push({ service, ids });
        return ids.map((id) => outcomeOf(service, id));
      },
      close: async () => undefined,
    }),
  };
}

function placeOf(service: string, id: string | number): string {
  return JSON.stringify([service, String(id)]);
}
