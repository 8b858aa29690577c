/** Provisional entries of the local tier, by the execution that wrote them. */
import { compareEntries, type Versioned } from '../core/entry-order.ts';
import { slotOf } from '../core/fnv.ts';
import type { LocalEntry } from '../core/ports.ts';

/** What one execution has written and Redis has not answered yet, by key. Several executions may hold a key at once. */
export type Staged = Map<string, LocalEntry>;

/**
 * How long what an execution staged lives, and how long a delete is remembered, in milliseconds. Longer than any execution
 * waits for Redis; whatever comes later is decided by Redis alone, at the price of one miss.
 */
export const MEMORY_MS = 60_000;

/** What an entry costs beside its text and key: objects, version, origin and lru-cache's own columns. */
const ENTRY_OVERHEAD_BYTES = 200;

/** Bytes of an entry, by estimate. */
export function costOf({ text }: LocalEntry, key: string): number {
  return key.length + ENTRY_OVERHEAD_BYTES + text.length;
}

/** What one execution holds, and its bytes. */
interface Group {
  readonly entries: Staged;
  /** Keys whose entries were overtaken: they can be read back, and become readable no more. */
  readonly overtaken: Set<string>;
  readonly sinceMs: number;
  bytes: number;
}

/** Provisional entries by execution. They are as many as executions hold in hand, and go when those end. */
export function createStaging(maxBytes: number) {
  const byToken = new Map<string, Group>();
  const sieve = createSieve();
  let all = 0;
  let bytes = 0;

  const count = (group: Group, key: string, by: 1 | -1, cost: number): void => {
    sieve.count(key, by);
    group.bytes += by * cost;
    all += by;
    bytes += by * cost;
  };
  const remove = (group: Group, key: string): LocalEntry | undefined => {
    const entry = group.entries.get(key);
    if (entry === undefined) return undefined;
    group.entries.delete(key);
    count(group, key, -1, costOf(entry, key));
    return entry;
  };
  const drop = (token: string, group: Group): void => {
    byToken.delete(token);
    for (const key of group.entries.keys()) remove(group, key);
  };

  return {
    add(token: string, added: Staged, nowMs: number): void {
      // Those of executions that never came back.
      for (const [other, group] of byToken) {
        if (group.sinceMs > nowMs - MEMORY_MS) break;
        drop(other, group);
      }
      const known = byToken.get(token);
      const group = known ?? { entries: added, overtaken: new Set(), sinceMs: nowMs, bytes: 0 };
      byToken.set(token, group);
      for (const [key, entry] of added) {
        const cost = costOf(entry, key);
        if (known !== undefined) remove(known, key);
        group.overtaken.delete(key);
        if (cost > maxBytes) {
          added.delete(key);
          continue;
        }
        if (known !== undefined) known.entries.set(key, entry);
        count(group, key, 1, cost);
      }
    },
    of: (token: string): Staged | undefined => byToken.get(token)?.entries,
    /** Calls `use` with a function that takes an entry out; undefined when the execution holds none, or it was overtaken. */
    taking(token: string, use: (take: (key: string) => LocalEntry | undefined) => void): void {
      const group = byToken.get(token);
      use((key) => {
        const entry = group === undefined ? undefined : remove(group, key);
        return group?.overtaken.has(key) === true ? undefined : entry;
      });
      if (group?.entries.size === 0) drop(token, group);
    },
    /** What any execution holds that is not newer than `by` must not become readable any more. */
    overtake(key: string, by: Versioned | null): void {
      // Asked for every key that another instance writes, and hardly ever there: a look into each group costs ten times this.
      if (!sieve.mayHold(key)) return;
      for (const group of byToken.values()) {
        const entry = group.entries.get(key);
        if (entry !== undefined && (by === null || compareEntries(entry, by) <= 0)) group.overtaken.add(key);
      }
    },
    clear(): void {
      byToken.clear();
      sieve.clear();
      all = 0;
      bytes = 0;
    },
    size: () => ({ entries: all, bytes }),
  };
}

/** Places of the sieve, a power of two: a few for each of the 16,000 keys that are in hand when all is busy. */
const PLACES = 1 << 16;

/** Tells of most keys that nobody holds them: how many keys are held by hash. */
function createSieve() {
  const held = new Uint32Array(PLACES);
  return {
    count(key: string, by: 1 | -1): void {
      const place = slotOf(key, PLACES);
      held[place] = (held[place] ?? 0) + by;
    },
    mayHold: (key: string): boolean => held[slotOf(key, PLACES)] !== 0,
    clear: () => held.fill(0),
  };
}
