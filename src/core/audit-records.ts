/** Reading audit entries: from their JSON, row by row, and which rows a query asks for. Shared by every audit store. */
import { messageId } from './change.ts';
import { reasonOf } from './errors.ts';
import type { AuditQuery } from './ports.ts';
import { AUDIT_FORMAT, type AuditEntry, type AuditRecord, type AuditRow } from './trail.ts';

export type ReadEntry =
  | { readonly kind: 'entry'; readonly entry: AuditEntry }
  /** Written by a newer version: leave it where it is. */
  | { readonly kind: 'newer'; readonly format: number }
  | { readonly kind: 'broken'; readonly reason: string };

/** Checks what every row relies on; a broken entry is a defect of whoever wrote it and must not stop those behind it. */
export function readAuditEntry(json: string): ReadEntry {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return { kind: 'broken', reason: reasonOf(error) };
  }
  if (!isObject(value)) return { kind: 'broken', reason: 'it is no object' };
  const { format } = value;
  if (!isCount(format)) return { kind: 'broken', reason: 'it has no format number' };
  if (format > AUDIT_FORMAT) return { kind: 'newer', format };
  const problem = { field: '' };
  if (!isEntry(value, problem)) return { kind: 'broken', reason: `its ${problem.field} is not usable` };
  return { kind: 'entry', entry: value };
}

const FIELDS: Readonly<Record<keyof AuditEntry, (value: unknown) => boolean>> = {
  format: isCount,
  job: isText,
  execution: isCount,
  worker: isText,
  stream: isText,
  epoch: isCount,
  redrive: isCount,
  startedMs: Number.isFinite,
  endedMs: Number.isFinite,
  services: Array.isArray,
  trails: Array.isArray,
  errors: Array.isArray,
  rows: (rows) => Array.isArray(rows) && rows.every(isRow),
};

function isEntry(value: Fields, problem: { field: string }): value is Fields & AuditEntry {
  problem.field = Object.entries(FIELDS).find(([field, isUsable]) => !isUsable(value[field]))?.[0] ?? '';
  return problem.field === '';
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRow(row: unknown): row is AuditRow {
  return (
    Array.isArray(row) &&
    row.length >= 7 &&
    typeof row[0] === 'string' &&
    typeof row[1] === 'string' &&
    typeof row[4] === 'string' &&
    typeof row[5] === 'string'
  );
}

/** A row with what it shares with the other rows of its entry. */
export function auditRecordOf(entry: AuditEntry, row: AuditRow): AuditRecord {
  const [
    position,
    state,
    trail,
    service,
    recordId,
    key,
    version,
    attempts = 0,
    error = -1,
    supersededBy = '',
    dueMs = 0,
    note = '',
  ] = row;
  return {
    message: messageId({ stream: entry.stream, position }),
    stream: entry.stream,
    epoch: entry.epoch,
    redrive: entry.redrive,
    job: entry.job,
    execution: entry.execution,
    worker: entry.worker,
    service: entry.services[service] ?? '',
    recordId,
    key,
    version,
    state,
    attempts,
    error: entry.errors[error] ?? null,
    supersededBy,
    dueMs,
    note,
    startedMs: entry.startedMs,
    endedMs: entry.endedMs,
    steps: entry.trails[trail] ?? [],
  };
}

/** The records of an entry that a query asks for, in the order of the entry. */
export function recordsAskedFor(entry: AuditEntry, query: AuditQuery): AuditRecord[] {
  if (!isEntryAskedFor(entry, query)) return [];
  const service = query.service === undefined ? undefined : entry.services.indexOf(query.service);
  const isAskedFor = (row: AuditRow): boolean =>
    (query.key === undefined || row[5] === query.key) &&
    (query.recordId === undefined || row[4] === query.recordId) &&
    (service === undefined || row[3] === service) &&
    (query.state === undefined || row[1] === query.state) &&
    (query.errorCode === undefined || entry.errors[row[8] ?? -1]?.code === query.errorCode) &&
    (query.message === undefined ||
      isOfMessage(messageId({ stream: entry.stream, position: row[0] }), query.message));
  return entry.rows.filter(isAskedFor).map((row) => auditRecordOf(entry, row));
}

function isEntryAskedFor(entry: AuditEntry, query: AuditQuery): boolean {
  return (
    (query.job === undefined || entry.job === query.job) &&
    (query.sinceMs === undefined || entry.endedMs >= query.sinceMs) &&
    (query.untilMs === undefined || entry.endedMs <= query.untilMs) &&
    (query.service === undefined || entry.services.includes(query.service))
  );
}

/** Asking for a message means all its parts; `…@17#1` asks for that part alone. */
function isOfMessage(id: string, asked: string): boolean {
  return id === asked || id.startsWith(`${asked}#`);
}
