import { AUDIT_FORMAT, type AuditEntry } from '../core/trail.ts';

/** Something a person did to one record, for the audit: who, what, and why. */
export interface OperatorAct {
  /** Names the act, e.g. a ULID; each is told once. */
  readonly id: string;
  /** The state it is told as, e.g. `fenceReset`. */
  readonly act: string;
  /** Who did it, without spaces: `user@host`, or an instance. */
  readonly by: string;
  readonly service: string;
  readonly recordId: string;
  readonly key: string;
  /** `kind:digits` of what was touched; '' for none. */
  readonly version: string;
  readonly note: string;
  readonly atMs: number;
}

/** The act as an audit entry: a row like any other, found by record, key and time. */
export function operatorEntry(act: OperatorAct): AuditEntry {
  return {
    format: AUDIT_FORMAT,
    job: `operator.${act.id}`,
    execution: 1,
    worker: act.by,
    stream: 'operator',
    epoch: 0,
    redrive: 0,
    startedMs: act.atMs,
    endedMs: act.atMs,
    services: [act.service],
    trails: [[]],
    errors: [],
    rows: [[act.id, act.act, 0, 0, act.recordId, act.key, act.version, 0, -1, '', 0, act.note]],
  };
}
