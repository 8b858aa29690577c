import { comparePositions } from '../../src/core/entry-order.ts';
import { parseMessageId } from '../../src/core/change.ts';
import type { Finding } from './finding.ts';
import type { AcceptedWrite, History, ReaderSample, RepairWindow } from './history.ts';
import { orderOf } from './versions-order.ts';

/** Whether a repair was under way at some time between two moments. */
function isRepaired(repairs: readonly RepairWindow[], fromMs: number, toMs: number): boolean {
  return repairs.some((window) => window.fromMs <= toMs && window.toMs >= fromMs);
}

/** Whether what one look found is older than what another did: a lower version, or one that the other saw deleted. */
function isOlder({ version, isPresent }: ReaderSample, than: ReaderSample): boolean {
  const order = orderOf(version, than.version);
  return order === undefined || order < 0 || (order === 0 && isPresent && !than.isPresent);
}

function toldOf({ version, isPresent, atMs }: ReaderSample): string {
  return `${isPresent ? version : `the deletion of ${version}`} at ${atMs}`;
}

/** Where a look finds what was newest when it began: what looks at the same found so far, the newest last, and when. */
type Seen = { readonly atMs: number; readonly newest: ReaderSample }[];

function seenBefore(seen: Seen, sinceMs: number): ReaderSample | undefined {
  return seen.findLast(({ atMs }) => atMs < sinceMs)?.newest;
}

/**
 * Invariant 2: for each reader and key the versions never go down from one look to one that began after it, and what was
 * deleted does not come back at or below its tombstone.
 */
export function versionsNeverFall({ samples, repairs }: History): Finding[] {
  const findings: Finding[] = [];
  const seenBy = new Map<string, Seen>();
  for (const sample of samples) {
    const { reader, key, version, tier, atMs, sinceMs = atMs } = sample;
    if (version === '') continue;
    const name = JSON.stringify([reader, key]);
    const seen = seenBy.get(name) ?? [];
    seenBy.set(name, seen);
    const before = seenBefore(seen, sinceMs);
    if (before !== undefined && isOlder(sample, before) && !isRepaired(repairs, before.atMs, atMs)) {
      const what = `${reader} read ${version} of ${key} from ${tier} at ${atMs}, after ${toldOf(before)}`;
      findings.push({ what, key });
    }
    const last = seen.at(-1)?.newest;
    const isLess = last !== undefined && isOlder(sample, last) && !isRepaired(repairs, last.atMs, atMs);
    seen.push({ atMs, newest: isLess ? last : sample });
  }
  return findings;
}

/**
 * Invariant 2 between instances: no answer is older than what Redis had `coherenceMs` before it was asked for, and an
 * instance that knows that it hears nothing answers nothing from its local tier.
 */
export function answersAreFresh({ samples, coherenceMs, repairs }: History): Finding[] {
  const findings: Finding[] = [];
  const inRedis = new Map<string, Seen>();
  for (const sample of samples) {
    const { reader, key, version, tier, atMs, sinceMs = atMs, isBlind = false } = sample;
    if (version === '') continue;
    if (reader === 'redis') {
      const seen = inRedis.get(key) ?? [];
      inRedis.set(key, seen);
      seen.push({ atMs, newest: sample });
      continue;
    }
    if (isBlind && tier === 'local')
      findings.push({
        what: `${reader} read ${version} of ${key} from local at ${atMs}, though it was blind`,
        key,
      });
    if (coherenceMs === undefined) continue;
    const known = seenBefore(inRedis.get(key) ?? [], sinceMs - coherenceMs);
    if (known === undefined || !isOlder(sample, known) || isRepaired(repairs, known.atMs, atMs)) continue;
    const what = `${reader} read ${version} of ${key} from ${tier} at ${sinceMs}, though Redis had ${toldOf(known)}`;
    findings.push({ what, key });
  }
  return findings;
}

/**
 * Invariant 4, in its stronger form: the writes that the fence lets through for a key rise by (version, position in one
 * stream); so no version is accepted twice, and never an older one. After a tombstone only what is above it is accepted;
 * the same tombstone may be left again. Within a repair, and across one, fence or value may be gone.
 */
export function acceptedWritesRise({ accepted, repairs, mayExpire }: History): Finding[] {
  const findings: Finding[] = [];
  const last = new Map<string, AcceptedWrite>();
  for (const write of accepted) {
    const before = last.get(write.key);
    const isUnversioned = write.version === '';
    const kept = isUnversioned ? (before?.version ?? '') : write.version;
    last.set(write.key, { ...write, version: kept });
    if (before === undefined || isUnversioned || before.version === '') continue;
    if (isRepaired(repairs, before.atMs, write.atMs)) continue;
    const reason = reasonAgainst(write, before, mayExpire);
    if (reason === '') continue;
    const what = `${write.message} wrote ${write.op} ${write.version} of ${write.key} at ${write.atMs}: ${reason} ${before.version} (${before.op} by ${before.message} at ${before.atMs})`;
    findings.push({ what, key: write.key });
  }
  return findings;
}

function reasonAgainst(write: AcceptedWrite, before: AcceptedWrite, mayExpire: boolean): string {
  const order = orderOf(write.version, before.version);
  if (order === undefined) return 'it cannot be compared with';
  if (order !== 0) return order > 0 ? '' : 'it is older than';
  if (write.op === 'delete') return '';
  if (before.op === 'delete') return 'it brings back the deleted';
  // What lost its value is written once more.
  return mayExpire || isLaterInStream(write, before) ? '' : 'it is a second write of';
}

function isLaterInStream(write: AcceptedWrite, before: AcceptedWrite): boolean {
  const [mine, its] = [parseMessageId(write.message), parseMessageId(before.message)];
  if (mine === undefined || its === undefined) return false;
  if (mine.stream !== its.stream || write.epoch !== before.epoch) return false;
  return comparePositions(mine.position, its.position) > 0;
}
