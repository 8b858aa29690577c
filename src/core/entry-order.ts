/** Which of two writes is the newer one, as the fence decides it: by version, then by position within one stream and epoch. */
import type { Origin } from './change.ts';
import type { Version } from './service.ts';
import { compareDigits } from './version.ts';

/** A version and the message it came with. */
export interface Versioned {
  readonly version: Version;
  readonly origin: Origin;
}

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
 * Below 0: the version of `a` is the lower one. Offsets are ordered by their stream's epoch first, since a topic made
 * anew counts from 0 again.
 *
 * @returns undefined when the two cannot be compared: different kinds, or offsets of different streams
 */
export function compareVersioned(a: Versioned, b: Versioned): number | undefined {
  if (a.version.kind !== b.version.kind) return undefined;
  if (a.version.kind === 'offset') {
    if (a.origin.stream !== b.origin.stream) return undefined;
    if (a.origin.epoch !== b.origin.epoch) return a.origin.epoch - b.origin.epoch;
  }
  return compareDigits(a.version.digits, b.version.digits);
}

/**
 * Below 0: `a` is the older one. When their versions cannot be compared `a` counts as older: `b` is what Redis took,
 * which it does only after the fence was reset.
 */
export function compareEntries(a: Versioned, b: Versioned): number {
  const order = compareVersioned(a, b) ?? -1;
  if (order !== 0 || !isSameStream(a.origin, b.origin)) return order;
  return comparePositions(a.origin.position, b.origin.position);
}
