/** Which of two writes is the newer one, as the fence script decides it: by version, then by position within one stream and epoch. */
import type { Origin } from '../core/change.ts';
import type { LocalEntry } from '../core/ports.ts';
import { compareDigits } from '../core/version.ts';

const DIGITS = /^\d+$/;

/** Offsets and line numbers as decimals, anything else (ULIDs) byte by byte. */
export function comparePositions(a: string, b: string): number {
  if (DIGITS.test(a) && DIGITS.test(b)) return compareDigits(a, b);
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export function isSameStream(a: Origin, b: Origin): boolean {
  return a.stream === b.stream && a.epoch === b.epoch;
}

/**
 * Below 0: `a` is the older one. Versions of different kinds cannot be compared; then `a` counts as older, because the
 * later one is what Redis holds after its fence was reset.
 */
export function compareEntries(a: LocalEntry, b: LocalEntry): number {
  if (a.version.kind !== b.version.kind) return -1;
  const byVersion = compareDigits(a.version.digits, b.version.digits);
  if (byVersion !== 0 || !isSameStream(a.origin, b.origin)) return byVersion;
  return comparePositions(a.origin.position, b.origin.position);
}
