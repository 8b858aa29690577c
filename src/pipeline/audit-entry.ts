import type { CachewrightError } from '../core/errors.ts';
import type { Execution } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import { AUDIT_FORMAT, type AuditEntry, type AuditRow, type Trail } from '../core/trail.ts';
import { formatVersion } from '../core/version.ts';

/** What the execution did, as the audit outbox takes it: one row per run, shared texts once. */
export function auditEntryOf(
  execution: Execution,
  runs: readonly Run[],
  startedMs: number,
  endedMs: number,
): AuditEntry {
  const services = new Index<string>();
  const trails = new Index<Trail>();
  const errors = new Index<string>();
  const errorTexts: { code: string; message: string }[] = [];
  const rows = runs.map((run): AuditRow => {
    const { change } = run;
    const waits = run.dueMs > 0;
    const position = positionOf(run);
    const trail = trails.of(run.trail);
    const service = change === undefined ? -1 : services.of(change.service.id);
    const [id, key, version] = [change?.id ?? '', change?.key ?? '', versionText(run)];
    const error = errorIndex(run, waits, errors, errorTexts);
    if (run.attempts === 0 && error === -1 && run.supersededBy === '' && !waits && run.note === '')
      return [position, run.state, trail, service, id, key, version];
    return [
      position,
      run.state,
      trail,
      service,
      id,
      key,
      version,
      run.attempts,
      error,
      run.supersededBy,
      waits ? run.dueMs : 0,
      run.note,
    ];
  });
  return {
    ...headerOf(execution, execution.execution, execution.worker, startedMs, endedMs),
    services: services.values,
    trails: trails.values.map((trail) => trail.entries()),
    errors: errorTexts,
    rows,
  };
}

/**
 * The record of an execution whose process died before it closed, told by its successor: one row `lost` per message
 * that was unfinished.
 */
export function lostEntryOf(
  execution: Execution,
  died: number,
  runs: readonly Run[],
  nowMs: number,
): AuditEntry {
  const [worker = '', state = ''] = died === execution.execution - 1 ? execution.lastProgress.split(' ') : [];
  const note = worker === '' ? 'lost before it told where it was' : `lost with worker ${worker} in ${state}`;
  const services = new Index<string>();
  const rows = runs.map((run): AuditRow => {
    const { change, attempts } = run;
    const service = change === undefined ? -1 : services.of(change.service.id);
    return [
      positionOf(run),
      'lost',
      0,
      service,
      change?.id ?? '',
      change?.key ?? '',
      '',
      attempts,
      -1,
      '',
      0,
      note,
    ];
  });
  return {
    ...headerOf(execution, died, worker, nowMs, nowMs),
    services: services.values,
    trails: [[]],
    errors: [],
    rows,
  };
}

function headerOf(execution: Execution, number: number, worker: string, startedMs: number, endedMs: number) {
  const { stream, epoch, redrive, parentExecutions } = execution.data;
  return {
    format: AUDIT_FORMAT,
    job: execution.job,
    execution: number + parentExecutions,
    worker,
    stream,
    epoch,
    redrive,
    startedMs,
    endedMs,
  };
}

function positionOf(run: Run): string {
  const { position } = run.message.origin;
  return run.part === 0 ? position : `${position}#${run.part}`;
}

/** Runs that ended well may have failed on the way; their last error is told by the earlier execution's row. */
function errorIndex(
  run: Run,
  waits: boolean,
  index: Index<string>,
  texts: { code: string; message: string }[],
): number {
  const { error } = run;
  if (error === undefined || !(waits || run.state === 'rejected' || run.state === 'gaveUp')) return -1;
  const text = `${error.code} ${error.message}`;
  const at = index.of(text);
  if (at === texts.length) texts.push({ code: error.code, message: messageOf(error) });
  return at;
}

function messageOf(error: CachewrightError): string {
  return `${error.message} ${error.next}`;
}

/** The version as trails print it; '' for none. */
export function versionText(run: Run): string {
  const version = run.record?.version ?? run.change?.version;
  return version === undefined ? '' : formatVersion(version);
}

/** Values in order of first appearance, each once. */
class Index<T> {
  readonly values: T[] = [];
  readonly #places = new Map<T, number>();

  of(value: T): number {
    const known = this.#places.get(value);
    if (known !== undefined) return known;
    const place = this.values.length;
    this.#places.set(value, place);
    this.values.push(value);
    return place;
  }
}
