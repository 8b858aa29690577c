import type { Clock, LocalEntry } from '../../src/core/ports.ts';

/** An entry of the local tier with a counter as version; the text defaults to its digits. */
export function entryOf(key: string, digits: string, more: Partial<LocalEntry> = {}): LocalEntry {
  return {
    key,
    text: `text ${digits}`,
    version: { kind: 'counter', digits },
    origin: { stream: 'orders-0', epoch: 0, position: digits },
    storedMs: 1_000,
    ttlMs: 60_000,
    ...more,
  };
}

/** A clock that stands still until it is moved; starts at 1,000 ms. */
export function standingClock(): Clock & { moveTo(ms: number): void } {
  let nowMs = 1_000;
  return {
    now: () => nowMs,
    sleep: () => Promise.reject(new Error('nothing here sleeps')),
    random: () => 0,
    moveTo(ms) {
      nowMs = ms;
    },
  };
}
