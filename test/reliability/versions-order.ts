import { compareDigits, parseVersion } from '../../src/core/version.ts';
import type { Truth } from './history.ts';

/** Order of two versions in text form; undefined when they cannot be compared (one is unknown, or the kinds differ). */
export function orderOf(a: string, b: string): number | undefined {
  const [first, second] = [parseVersion(a), parseVersion(b)];
  if (first === null || second === null || first.kind !== second.kind) return undefined;
  return compareDigits(first.digits, second.digits);
}

/** The newest of what was asked for in this order: by version; a tie belongs to the delete; what cannot be compared, by arrival. */
export function newestOf<T extends Truth>(all: readonly T[]): T | undefined {
  return all.reduce<T | undefined>((best, next) => {
    if (best === undefined) return next;
    const order = orderOf(next.version, best.version);
    if (order === undefined) return next;
    if (order !== 0) return order > 0 ? next : best;
    return best.op === 'delete' && next.op === 'upsert' ? best : next;
  }, undefined);
}

/** Whether something is at least as new as the floor. */
export function isAtLeast(one: Truth, floor: Truth, all: readonly Truth[]): boolean {
  const order = orderOf(one.version, floor.version);
  if (order === undefined) return all.indexOf(one) >= all.indexOf(floor);
  return order > 0 || (order === 0 && (one.op === 'delete' || floor.op === 'upsert'));
}
