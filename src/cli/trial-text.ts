/** What a dry run found, as text and as JSON. */
import { decodeFence, type Fence, fencedBy } from '../core/fence.ts';
import type { StoredRecord } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { Version } from '../core/service.ts';
import { compareVersions, describeVersion, formatVersion } from '../core/version.ts';
import type { Decision, DryRedisTier } from './dry-redis-tier.ts';

/** What would happen, and why. */
interface Verdict {
  readonly outcome:
    | 'write'
    | 'nothing'
    | 'evict'
    | 'superseded'
    | 'ignored'
    | 'rejected'
    | 'retried'
    | 'gaveUp';
  /** Completes "would …". */
  readonly would: string;
  readonly because: string;
}

/** True when the message would not get through. */
export function isRefused(run: Run): boolean {
  return run.error !== undefined && (run.dueMs > 0 || run.state === 'rejected' || run.state === 'gaveUp');
}

export function describeTrial(run: Run, tier: DryRedisTier): string {
  const { change, record, error } = run;
  const decision = change === undefined ? undefined : tier.decisions.get(change.key);
  const verdict = verdictOf(run, decision);
  const version = decision?.write.version ?? record?.version ?? change?.version;
  const lines: (readonly [name: string, text: string] | undefined)[] = [
    change && ['service', `${change.service.id} ${change.id}`],
    change && ['operation', change.op],
    change && ['key', change.key],
    change && ['version', version === undefined ? 'none' : named(version)],
    record && [
      'record',
      `${record.text}  (${change?.service.inline === true ? 'from the message' : 'fetched'})`,
    ],
    decision && ['in Redis', describeStored(decision)],
    ['would', verdict.would],
    ['because', verdict.because],
    isRefused(run) && error !== undefined ? ['next', error.next] : undefined,
    ['steps', stepsOf(run).join(' → ')],
  ];
  return lines
    .filter((line) => line !== undefined)
    .map(([name, text]) => `${name.padEnd(10)} ${printable(text)}`)
    .join('\n');
}

/** The record's own text stands in it unchanged, so that no number is altered. */
export function trialJson(run: Run, tier: DryRedisTier): string {
  const { change, record, error } = run;
  const decision = change === undefined ? undefined : tier.decisions.get(change.key);
  const version = decision?.write.version ?? record?.version ?? change?.version;
  const fields = {
    service: change?.service.id ?? null,
    id: change?.id ?? null,
    op: change?.op ?? null,
    key: change?.key ?? null,
    version: version === undefined ? null : formatVersion(version),
    stored: decision === undefined ? null : { fence: decision.fence, text: decision.stored?.text ?? null },
    ...verdictOf(run, decision),
    state: run.dueMs > 0 ? 'waits' : run.state,
    error:
      isRefused(run) && error !== undefined
        ? { code: error.code, message: error.message, next: error.next }
        : null,
    steps: stepsOf(run),
  };
  return `${JSON.stringify(fields).slice(0, -1)},"record":${record?.text ?? 'null'}}`;
}

function verdictOf(run: Run, decision: Decision | undefined): Verdict {
  const why = run.error === undefined ? '' : `${run.error.code}: ${run.error.message}`;
  if (run.dueMs > 0) return { outcome: 'retried', would: 'be tried again later', because: why };
  switch (run.state) {
    case 'ignored':
      return { outcome: 'ignored', would: 'do nothing', because: 'the decode function found nothing to do' };
    case 'rejected':
      return { outcome: 'rejected', would: 'be rejected: it goes to the dead letters', because: why };
    case 'gaveUp':
      return { outcome: 'gaveUp', would: 'be given up: it goes to the dead letters', because: why };
    default:
      return decision === undefined
        ? { outcome: 'nothing', would: 'write nothing', because: `it ends in ${run.state}` }
        : decided(decision, run.change?.op === 'delete');
  }
}

function decided({ write, stored, fence, result }: Decision, isDelete: boolean): Verdict {
  const { key, version } = write;
  const known = fence === null ? undefined : decodeFence(fence);
  switch (result.kind) {
    case 'set':
      return {
        outcome: 'write',
        would: `write the record under ${key}${write.ttlMs > 0 ? `, for ${Math.round(write.ttlMs)} ms` : ''}`,
        because: whyTaken(version, known, stored),
      };
    case 'same':
      return {
        outcome: 'nothing',
        would: 'change nothing in Redis, and keep the record locally',
        because: 'the same record with the same version is there',
      };
    case 'evicted':
      return {
        outcome: 'evict',
        would: `remove ${key} and leave a tombstone`,
        because: isDelete ? 'the message is a delete' : 'the source has no such record',
      };
    case 'refused':
      return { outcome: 'superseded', would: 'write nothing: it is superseded', because: whyRefused(result) };
    default:
      return { outcome: 'retried', would: 'be tried again', because: `the fence answered ${result.kind}` };
  }
}

function whyTaken(version: Version | null, fence: Fence | undefined, stored: StoredRecord | null): string {
  if (fence === undefined) {
    return stored === null ? 'nothing is stored under the key' : 'the stored value has no fence';
  }
  if (fence.version === null || version === null)
    return 'the record was found absent before, at no known version';
  if (fence.version.kind === version.kind && compareVersions(version, fence.version) > 0) {
    return `the stored version ${describeVersion(fence.version)} is older`;
  }
  return stored === null
    ? 'the version is the stored one, but the value is gone'
    : 'it is the later of two messages of this version';
}

function whyRefused({ by, version, reason }: { by: string; version: string; reason: string }): string {
  if (reason === 'tombstone') return `the record was deleted at version ${version} by ${by}`;
  if (reason === 'tie') return `other bytes of the same version ${version} are there, written by ${by}`;
  return `version ${version}, written by ${by}, is newer`;
}

function describeStored({ stored, fence }: Decision): string {
  if (stored === null && fence === null) return 'nothing';
  const known = fence === null ? undefined : decodeFence(fence);
  const version = known?.version == null ? 'no version' : `version ${named(known.version)}`;
  const by = fence === null ? '' : `, by ${fencedBy(fence)}`;
  const state = known === undefined || known.kind === 'live' ? '' : ', a tombstone';
  const expiry = stored === null || stored.ttlMs < 0 ? '' : `, expires in ${stored.ttlMs} ms`;
  return `${stored === null ? 'no value' : stored.text}  (${version}${state}${by}${expiry})`;
}

function named(version: Version): string {
  return `${formatVersion(version)} (${describeVersion(version)})`;
}

function stepsOf(run: Run): string[] {
  const entries = run.trail.entries();
  return [
    entries[0]?.from ?? run.state,
    ...entries.map(({ to, event }) =>
      event === 'failed' || event === 'waits' ? `${event}, then ${to}` : to,
    ),
  ];
}

/** Ids and records come from messages: control characters must not reach a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);
}
