import { DatabaseSync } from 'node:sqlite';
import { fail, reasonOf } from '../core/errors.ts';
import { KEY_INDEX_TABLES } from './sqlite-audit-keys.ts';

/**
 * The layout of docs/adr/0005-audit-layout.md: one row per execution, which keeps the audit entry as it was written, and
 * small indexes to find executions by. Steps are never changed once released; a new layout is a new step.
 */
const STEPS: readonly string[] = [
  `
  create table outboxes (name text primary key, cursor text not null) without rowid;

${KEY_INDEX_TABLES}
  -- widest: the largest distance between first and last position of an execution.
  create table streams (id integer primary key, name text not null unique, widest integer not null);

  -- part: above 0 for rows of an execution that arrived in a further entry. entry: the outbox entry's JSON.
  create table executions (
    id integer primary key, job text not null, execution integer not null, part integer not null,
    stream integer not null references streams, epoch integer not null, redrive integer not null,
    first integer, last integer, rows integer not null, worker text not null, started real not null, ended real not null,
    services text not null, errors text not null, entry text not null,
    unique (job, execution, redrive, stream, epoch, part)
  );
  create index executions_by_position on executions (stream, first, last) where first is not null;
  create index executions_by_end on executions (ended);

  -- States, error codes and services by the executions they occur in: 'state:gaveUp', 'error:E_…', 'service:…'.
  create table facets (facet text, execution integer, primary key (facet, execution)) without rowid;

  -- How a service makes keys of record ids, learnt from its rows, so that a record is found by the index of keys.
  create table patterns (service text, prefix text, suffix text, primary key (service, prefix, suffix)) without rowid;

  create table defects (
    id integer primary key, outbox text not null, outbox_id text not null, reason text not null, entry text not null,
    unique (outbox, outbox_id, entry)
  );

  -- For people with the sqlite3 shell. It reads every entry it touches: narrow it by job or time where there are millions.
  create view audit as
  select s.name || '@' || json_extract(r.value, '$[0]') as message, e.epoch, e.redrive, e.job, e.execution, e.worker,
    coalesce(json_extract(e.services, '$[' || iif(json_extract(r.value, '$[3]') < 0, 999999, json_extract(r.value, '$[3]')) || ']'), '') as service,
    json_extract(r.value, '$[4]') as record_id, json_extract(r.value, '$[5]') as key, json_extract(r.value, '$[6]') as version,
    json_extract(r.value, '$[1]') as state, coalesce(json_extract(r.value, '$[7]'), 0) as attempts,
    coalesce(json_extract(e.errors, '$[' || iif(coalesce(json_extract(r.value, '$[8]'), -1) < 0, 999999, json_extract(r.value, '$[8]')) || '].code'), '') as error_code,
    coalesce(json_extract(e.errors, '$[' || iif(coalesce(json_extract(r.value, '$[8]'), -1) < 0, 999999, json_extract(r.value, '$[8]')) || '].message'), '') as error,
    coalesce(json_extract(r.value, '$[9]'), '') as superseded_by, coalesce(json_extract(r.value, '$[11]'), '') as note,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.started / 1000, 'unixepoch') as started,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.ended / 1000, 'unixepoch') as ended,
    json_extract(e.entry, '$.trails[' || json_extract(r.value, '$[2]') || ']') as steps
  from executions e join streams s on s.id = e.stream, json_each(e.entry, '$.rows') r;
  `,
];

/** The layout's format number, kept in SQLite's `user_version`. */
export const AUDIT_STORE_FORMAT = STEPS.length;

/** How long a statement waits for another connection's lock, milliseconds; only migrations and checkpoints hold one long. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the file for writing, made or migrated if need be.
 *
 * `synchronous = FULL`: a commit must survive a power failure, because its entries are removed from the outbox next.
 * It costs 1 to 4 % (ADR 0005). Checkpoints are rarer than SQLite's default, since every one
 * writes the same hot pages again.
 */
export function openForWriting(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    refuseNewer(db, file);
    db.exec(
      'pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -32768; pragma wal_autocheckpoint = 4000',
    );
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Migrates the file and closes it. The caller holds its lease. @returns its format before (0: there was none) and now */
export function migrateFile(file: string): { readonly from: number; readonly to: number } {
  const before = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  const from = formatOf(before);
  before.close();
  openForWriting(file).close();
  return { from, to: AUDIT_STORE_FORMAT };
}

/**
 * Opens the file for reading; a writer may be at work meanwhile.
 *
 * @throws `E_NOT_FOUND` when there is no audit store in it, `E_FORMAT_NEWER`
 */
export function openForReading(file: string): DatabaseSync {
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw fail('E_NOT_FOUND', { what: `An audit store in ${file} (${reasonOf(error)})` }, { cause: error });
  }
  try {
    refuseNewer(db, file);
    if (formatOf(db) < AUDIT_STORE_FORMAT) throw fail('E_NOT_FOUND', { what: `An audit store in ${file}` });
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function refuseNewer(db: DatabaseSync, file: string): void {
  const format = formatOf(db);
  if (format > AUDIT_STORE_FORMAT)
    throw fail('E_FORMAT_NEWER', { what: `audit store (${file})`, format, known: AUDIT_STORE_FORMAT });
}

function formatOf(db: DatabaseSync): number {
  return Number(db.prepare('pragma user_version').get()?.['user_version']);
}

function migrate(db: DatabaseSync): void {
  for (let format = formatOf(db); format < AUDIT_STORE_FORMAT; format += 1) {
    db.exec(`begin immediate; ${STEPS[format] ?? ''} pragma user_version = ${format + 1}; commit`);
  }
}
