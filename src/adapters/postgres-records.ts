import pg from 'pg';
import { asError, CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';
import type { CallGate } from './call-gate.ts';

export interface PostgresRecordsOptions {
  readonly service: string;
  readonly url: string;
  /** `$1` is the list of ids; a row has the id, `record` (JSON) and, if it likes, `version` (text). */
  readonly query: string;
  /** Column of the id. */
  readonly id: string;
  readonly timeoutMs: number;
  readonly maxConnections: number;
  readonly gate: CallGate;
}

/** Every value as the text Postgres sends: JSON keeps its bytes, and 64-bit numbers their digits. */
const asText = { getTypeParser: () => (value: string) => value };
/** SQLSTATE class 22: a value the query cannot take, such as `abc` for a bigint. */
const DATA_EXCEPTION = '22';
const CONNECT_TIMEOUT_MS = 5_000;

type Row = Readonly<Record<string, string | null>>;

/** Records from Postgres: one query for all ids, rows joined by the id column. */
export function createPostgresRecords(options: PostgresRecordsOptions): RecordSource {
  const { service, gate, query, timeoutMs } = options;
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections,
    connectionTimeoutMillis: Math.min(CONNECT_TIMEOUT_MS, timeoutMs),
    statement_timeout: timeoutMs,
    application_name: 'cachewright',
    allowExitOnIdle: true,
  });
  // An idle connection that breaks is replaced; without a listener the process would end.
  pool.on('error', () => undefined);

  const ask = async (ids: readonly string[], signal: AbortSignal): Promise<Row[]> => {
    const client = await pool.connect();
    let isBroken = false;
    const onAbort = (): void => {
      isBroken = true;
      client.release(true);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      const result = await client.query({ text: query, values: [ids], types: asText });
      return result.rows as Row[];
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (!isBroken) client.release();
    }
  };

  /** One id that the query cannot take must not fail the others: ask in halves until it stands alone. */
  const askAll = async (ids: readonly string[], signal: AbortSignal): Promise<Map<string, FetchOutcome>> => {
    try {
      const rows = await gate.run(signal, (inner) =>
        ask(ids, inner).catch((thrown: unknown) => rethrow(service, thrown)),
      );
      return outcomesOf(options, ids, rows);
    } catch (thrown) {
      const error = asError(thrown);
      const isData = String(error.details['sqlstate'] ?? '').startsWith(DATA_EXCEPTION);
      if (!isData || ids.length === 1) return new Map(ids.map((id) => [id, { kind: 'failed', error }]));
      const middle = Math.ceil(ids.length / 2);
      const halves = await Promise.all([
        askAll(ids.slice(0, middle), signal),
        askAll(ids.slice(middle), signal),
      ]);
      return new Map(halves.flatMap((half) => [...half]));
    }
  };

  return {
    async fetchMany(requests, signal) {
      const ids = requests.map(({ id }) => id);
      const outcomes = await askAll(ids, signal);
      return ids.map((id) => outcomes.get(id) ?? { kind: 'absent' });
    },
    close: () => pool.end(),
  };
}

function rethrow(service: string, thrown: unknown): never {
  if (thrown instanceof CachewrightError) throw thrown;
  const sqlstate = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  // A query or a value that Postgres refuses is no outage; a connection that breaks (class 08, 57 or none) is.
  const outage = !/^[0-9A-Z]{5}$/.test(sqlstate) || /^(08|53|57|58)/.test(sqlstate);
  throw fail('E_FETCH_FAILED', { service, reason: reasonOf(thrown), sqlstate, outage }, { cause: thrown });
}

function outcomesOf(
  options: PostgresRecordsOptions,
  ids: readonly string[],
  rows: readonly Row[],
): Map<string, FetchOutcome> {
  const outcomes = new Map<string, FetchOutcome>(ids.map((id) => [id, { kind: 'absent' }]));
  for (const row of rows) {
    const id = row[options.id];
    const { record: text, version } = row as { record?: string | null; version?: string | null };
    if (id === undefined || text === undefined) {
      const reason = `the query gives no column ${id === undefined ? options.id : 'record'}`;
      throw fail('E_FETCH_FAILED', { service: options.service, reason, outage: false });
    }
    if (id === null || !outcomes.has(id)) continue;
    if (text !== null) outcomes.set(id, { kind: 'record', text, ...(version != null && { version }) });
  }
  return outcomes;
}
