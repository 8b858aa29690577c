import { comparePositions } from '../../src/core/entry-order.ts';
import { parseMessageId } from '../../src/core/change.ts';
import type { Finding } from './finding.ts';
import type { AcceptedWrite, History, ReaderSample, RepairWindow } from './history.ts';
import { orderOf } from './versions-order.ts';

/** Whether a repair was under way at some time between two moments. */
function isRepaired(repairs: readonly RepairWindow[], fromMs: number, toMs: number): boolean {
  return repairs.some((window) => window.fromMs <= toMs && window.toMs >= fromMs);
}

/** Invariant 2: for each reader and key the versions never go down, and what was deleted does not come back at or below its tombstone. */
export function versionsNeverFall({ samples, repairs, localTiers }: History): Finding[] {
  const findings: Finding[] = [];
  const newest = new Map<string, ReaderSample>();
  for (const sample of samples) {
    const { reader, key, version, isPresent, tier, atMs } = sample;
    if (version === '') continue;
    // Until local tiers follow at once, one may still show what Redis is past: each tier is held for itself.
    const name = JSON.stringify([reader, key, localTiers === 'atOnce' ? '' : tier]);
    const before = newest.get(name);
    const order = before === undefined ? 1 : orderOf(version, before.version);
    if (before !== undefined && !isRepaired(repairs, before.atMs, atMs)) {
      const isRevived = order === 0 && isPresent && !before.isPresent;
      if (order === undefined || order < 0 || isRevived) {
        const told = before.isPresent ? before.version : `the deletion of ${before.version}`;
        const what = `${reader} read ${version} of ${key} from ${tier} at ${atMs}, after ${told} at ${before.atMs}`;
        findings.push({ what, key });
      }
    }
    newest.set(name, sample);
  }
  return findings;
}

/**
 * Invariant 4, in its stronger form: the writes that the fence lets through for a key rise by (version, position in one
 * stream); so no version is accepted twice, and never an older one. After a tombstone only what is above it is accepted;
 * the same tombstone may be left again. Within a repair, and across one, fence or value may be gone.
 */
export function acceptedWritesRise({ accepted, repairs }: History): Finding[] {
  const findings: Finding[] = [];
  const last = new Map<string, AcceptedWrite>();
  for (const write of accepted) {
    const before = last.get(write.key);
    const isUnversioned = write.version === '';
    const kept = isUnversioned ? (before?.version ?? '') : write.version;
    last.set(write.key, { ...write, version: kept });
    if (before === undefined || isUnversioned || before.version === '') continue;
    if (isRepaired(repairs, before.atMs, write.atMs)) continue;
    const reason = reasonAgainst(write, before);
    if (reason === '') continue;
    const what = `${write.message} wrote ${write.op} ${write.version} of ${write.key} at ${write.atMs}: ${reason} ${before.version} (${before.op} by ${before.message} at ${before.atMs})`;
    findings.push({ what, key: write.key });
  }
  return findings;
}

function reasonAgainst(write: AcceptedWrite, before: AcceptedWrite): string {
  const order = orderOf(write.version, before.version);
  if (order === undefined) return 'it cannot be compared with';
  if (order !== 0) return order > 0 ? '' : 'it is older than';
  if (write.op === 'delete') return '';
  if (before.op === 'delete') return 'it brings back the deleted';
  return isLaterInStream(write, before) ? '' : 'it is a second write of';
}

function isLaterInStream(write: AcceptedWrite, before: AcceptedWrite): boolean {
  const [mine, its] = [parseMessageId(write.message), parseMessageId(before.message)];
  if (mine === undefined || its === undefined) return false;
  if (mine.stream !== its.stream || write.epoch !== before.epoch) return false;
  return comparePositions(mine.position, its.position) > 0;
}
