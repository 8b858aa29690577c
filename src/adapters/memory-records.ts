import type { CallGate } from './call-gate.ts';
import { aborted } from './call-turns.ts';
import { asError, type CachewrightError } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

export interface MemoryRecordsOptions {
  /** How long an answer takes, milliseconds. @defaultValue 0 */
  readonly latencyMs?: number;
  /** What its calls go through; without one they go straight. */
  readonly gate?: CallGate;
}

/** Records in this process, for tests and trials: what it answers, how late, and what fails can be changed at any time. */
export interface MemoryRecords extends RecordSource {
  /** The record from now on: a value to be serialised, or, as a string, its JSON text. */
  put(id: string, record: unknown, version?: string): void;
  delete(id: string): void;
  /** What every fetch of this id, or of everything, fails with from now on; undefined: nothing. */
  failWith(error: CachewrightError | undefined, id?: string): void;
  setLatency(ms: number): void;
  /** The ids of every call so far, in order. */
  readonly calls: readonly (readonly string[])[];
  /** Calls that are waiting for their answer. */
  underWay(): number;
}

const ungated: CallGate = { run: (signal, call) => call(signal) };

export function createMemoryRecords(options: MemoryRecordsOptions = {}): MemoryRecords {
  const { gate = ungated } = options;
  const records = new Map<string, FetchOutcome>();
  const failures = new Map<string, CachewrightError>();
  const calls: (readonly string[])[] = [];
  let failure: CachewrightError | undefined;
  let latencyMs = options.latencyMs ?? 0;
  let underWay = 0;

  function answer(id: string): FetchOutcome {
    const error = failures.get(id);
    if (error !== undefined) return { kind: 'failed', error };
    return records.get(id) ?? { kind: 'absent' };
  }

  async function call(ids: readonly string[], signal: AbortSignal): Promise<FetchOutcome[]> {
    calls.push(ids);
    underWay += 1;
    if (latencyMs > 0) await sleep(latencyMs, signal);
    underWay -= 1;
    if (signal.aborted) throw aborted(signal);
    if (failure !== undefined) throw failure;
    return ids.map(answer);
  }

  return {
    calls,
    underWay: () => underWay,
    async fetchMany(requests, signal) {
      const ids = requests.map(({ id }) => id);
      if (ids.length === 0) return [];
      try {
        return await gate.run(signal, (callSignal) => call(ids, callSignal));
      } catch (thrown) {
        const error = asError(thrown);
        return ids.map(() => ({ kind: 'failed', error }));
      }
    },
    put(id, record, version) {
      const text = typeof record === 'string' ? record : JSON.stringify(record);
      records.set(id, { kind: 'record', text, ...(version === undefined ? {} : { version }) });
    },
    delete: (id) => void records.delete(id),
    failWith(error, id) {
      if (id === undefined) failure = error;
      else if (error === undefined) failures.delete(id);
      else failures.set(id, error);
    },
    setLatency(ms) {
      latencyMs = ms;
    },
    async close() {},
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
