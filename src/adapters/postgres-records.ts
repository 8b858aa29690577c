import { DatabaseError, Pool, type PoolClient, type QueryArrayResult } from 'pg';
import type { CallGate } from './call-gate.ts';
import { failedRecord, type AnsweredItem, joinById } from './join-by-id.ts';
import { cancelQuery } from './postgres-cancel.ts';
import { asError, CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

export interface PostgresRecordsOptions {
  readonly service: string;
  /** postgres://user:password@host:port/database; the password appears in no error. */
  readonly url: string;
  /**
   * Gives a row per record for the ids in `$1`, an array of text that the query casts as it needs: columns `record`
   * (JSON) and the id, and `version` if the version is no field of the record.
   */
  readonly query: string;
  /** Column of the id. @defaultValue 'id' */
  readonly id?: string | undefined;
  readonly timeoutMs: number;
  /** At least the gate's concurrency, or queries wait for a connection within their time. */
  readonly maxConnections: number;
  readonly gate: CallGate;
}

type Row = readonly (string | null)[];
type Answer = Pick<QueryArrayResult<(string | null)[]>, 'fields' | 'rows'>;

/** Every column as the text that Postgres sends: no number is made of anything. */
const asText = { getTypeParser: () => (text: string) => text };
/** How much later than the gate the server itself stops a query: for a cancel request that got lost. */
const BACKSTOP_MS = 1_000;
/** How long a cancelled query may take to end before its connection is cut. */
const CANCEL_GRACE_MS = 500;

/** Records of a Postgres database. docs/sources.md says what each kind of answer means. */
export function createPostgresRecords(options: PostgresRecordsOptions): RecordSource {
  const { service, gate, timeoutMs } = options;
  const pool = new Pool({
    connectionString: options.url,
    max: options.maxConnections,
    connectionTimeoutMillis: timeoutMs,
    statement_timeout: timeoutMs + BACKSTOP_MS,
    application_name: `cachewright ${service}`,
  });
  // Connections break; the query under way says so, and the next one gets a new connection. Unheard, it ends the process.
  pool.on('error', ignore);
  pool.on('connect', (client) => client.on('error', ignore));

  async function ask(ids: readonly string[], signal: AbortSignal): Promise<Map<string, FetchOutcome>> {
    try {
      const answer = await gate.run(signal, async (callSignal) => {
        try {
          return await query(pool, { text: options.query, ids }, callSignal);
        } catch (thrown) {
          throw failureOf(options, thrown);
        }
      });
      const { outcomes, open } = outcomesOf(options, ids, answer);
      // Alone, an id that Postgres spells in another way can spoil the answer of no other.
      if (ids.length > 1) await askSingly(open, signal, outcomes);
      else for (const id of open) outcomes.set(id, { kind: 'failed', error: strayRows(options) });
      return outcomes;
    } catch (thrown) {
      const error = asError(thrown);
      if (!isAboutData(error)) return allFailed(ids, error);
      const [only, ...others] = ids;
      if (only !== undefined && others.length === 0) return new Map([[only, failedFor(only, error)]]);
      const half = Math.ceil(ids.length / 2);
      const halves = await Promise.all([ask(ids.slice(0, half), signal), ask(ids.slice(half), signal)]);
      return new Map(halves.flatMap((outcomes) => [...outcomes]));
    }
  }

  async function askSingly(
    ids: readonly string[],
    signal: AbortSignal,
    outcomes: Map<string, FetchOutcome>,
  ): Promise<void> {
    const answers = await Promise.all(ids.map((id) => ask([id], signal)));
    for (const answer of answers) for (const [id, outcome] of answer) outcomes.set(id, outcome);
  }

  const failedFor = (id: string, error: CachewrightError): FetchOutcome => ({
    kind: 'failed',
    error: fail(
      'E_FETCH_FAILED',
      { ...error.details, reason: `${String(error.details['reason'])} (for the id ${JSON.stringify(id)})` },
      { cause: error },
    ),
  });

  return {
    async fetchMany(requests, signal) {
      if (requests.length === 0) return [];
      const ids = requests.map(({ id }) => id);
      const outcomes = await ask(ids, signal);
      return ids.map((id) => outcomes.get(id) ?? failedRecord(service, id, 'no answer'));
    },
    close: () => (pool.ending ? Promise.resolve() : pool.end()),
  };
}

/** Runs the query on a connection of its own; when the signal fires the server is told to stop. */
async function query(
  pool: Pool,
  { text, ids }: { readonly text: string; readonly ids: readonly string[] },
  signal: AbortSignal,
): Promise<Answer> {
  const client = await pool.connect();
  const stop = whenAborted(signal, client);
  try {
    signal.throwIfAborted();
    return await client.query({ text, values: [ids], rowMode: 'array', types: asText });
  } finally {
    stop();
  }
}

/** Cancels on abort. The returned function gives the connection back; one that was cancelled is not used again. */
function whenAborted(signal: AbortSignal, client: PoolClient): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isReleased = false;
  const release = (): void => {
    if (!isReleased) client.release(signal.aborted);
    isReleased = true;
  };
  const onAbort = (): void => {
    cancelQuery(client);
    timer = setTimeout(release, CANCEL_GRACE_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  return () => {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
    release();
  };
}

/** `open`: ids without a row, while rows came that nobody asked for; whether they are gone is not known. */
function outcomesOf(
  { service, id: idColumn = 'id' }: PostgresRecordsOptions,
  ids: readonly string[],
  { fields, rows }: Answer,
): { readonly outcomes: Map<string, FetchOutcome>; readonly open: readonly string[] } {
  const place = (name: string): number => fields.findIndex((field) => field.name === name);
  const idAt = place(idColumn);
  const recordAt = place('record');
  const versionAt = place('version');
  if (idAt === -1 || recordAt === -1) {
    const reason = `its query gives no column "${idAt === -1 ? idColumn : 'record'}"`;
    return { outcomes: allFailed(ids, fail('E_FETCH_FAILED', { service, reason })), open: [] };
  }
  const items = rows.map((row): AnsweredItem => {
    const id = row[idAt] ?? undefined;
    const version = versionAt === -1 ? null : row[versionAt];
    return { id, outcome: outcomeOf(service, id ?? '', row[recordAt], version) };
  });
  const { outcomes, isExact } = joinById(service, ids, items);
  const rest = ids.filter((id) => !outcomes.has(id));
  if (!isExact) return { outcomes, open: rest };
  for (const id of rest) outcomes.set(id, { kind: 'absent' });
  return { outcomes, open: [] };
}

function strayRows({ service, id = 'id' }: PostgresRecordsOptions): CachewrightError {
  return fail('E_FETCH_FAILED', {
    service,
    reason: `a row came with an id that was not asked for, so this one cannot be taken as gone: let the column "${id}" give ids as messages write them`,
  });
}

function outcomeOf(
  service: string,
  id: string,
  text: Row[number] | undefined,
  version: Row[number] | undefined,
): FetchOutcome {
  if (text === null || text === undefined || text === 'null') return failedRecord(service, id, 'it is null');
  return version === null || version === undefined
    ? { kind: 'record', text }
    : { kind: 'record', text, version };
}

function allFailed(ids: readonly string[], error: CachewrightError): Map<string, FetchOutcome> {
  return new Map(ids.map((id) => [id, { kind: 'failed', error }]));
}

/** Classes of SQLSTATE that say nothing about the query or its data: connection, resources, shutdown, system. */
const OUTAGE = /^(?:08|53|57P|58|XX)/;
const CANCELLED = '57014';

/** Without the driver's error as its cause: that may hold the connection's settings. */
function failureOf({ service, timeoutMs }: PostgresRecordsOptions, thrown: unknown): CachewrightError {
  if (thrown instanceof CachewrightError) return thrown;
  const reason = reasonOf(thrown);
  if (!(thrown instanceof DatabaseError)) return fail('E_FETCH_FAILED', { service, reason, outage: true });
  const { code: sqlState = '' } = thrown;
  if (sqlState === CANCELLED) return fail('E_FETCH_TIMEOUT', { service, timeoutMs });
  return fail('E_FETCH_FAILED', {
    service,
    reason,
    sqlState,
    ...(OUTAGE.test(sqlState) ? { outage: true } : {}),
  });
}

/** Class 22, data exception: an id that cannot be cast, or a record that the query cannot work with. */
function isAboutData({ code, details }: CachewrightError): boolean {
  const { sqlState } = details;
  return code === 'E_FETCH_FAILED' && typeof sqlState === 'string' && sqlState.startsWith('22');
}

function ignore(): void {}
