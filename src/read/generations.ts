import { slotOf } from '../core/fnv.ts';

/** Room for so many keys to change without one voiding another's fills by chance; 256 KiB. A power of two. */
const SLOTS = 65_536;

/**
 * Counts changes of keys, so that what was read before a change is not kept after it. Keys share counters by their hash: a
 * fill may be voided by a change of another key, which costs a miss; none is ever missed.
 */
export interface Generations {
  of(key: string): number;
  /** The key has changed: fills that began before are void. */
  bump(key: string): void;
  /** Anything may have changed: all fills under way are void. */
  bumpAll(): void;
}

export function createGenerations(): Generations {
  const counters = new Uint32Array(SLOTS);
  let all = 0;
  return {
    of: (key) => all * 2 ** 32 + (counters[slotOf(key, SLOTS)] ?? 0),
    bump(key) {
      const slot = slotOf(key, SLOTS);
      counters[slot] = (counters[slot] ?? 0) + 1;
    },
    bumpAll() {
      all += 1;
    },
  };
}
