/** Provisional entries of the local tier, by the execution that wrote them. */
import { compareEntries, isSameStream, type Versioned } from '../core/entry-order.ts';
import type { LocalEntry } from '../core/ports.ts';

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

/** What one execution has written and Redis has not answered yet. Of two entries of one key the later one counts. */
export interface Staged {
  get(key: string): LocalEntry | undefined;
}

/** What one execution has written of one key. */
interface Write {
  readonly group: Group;
  readonly entry: LocalEntry;
  /** The newest that was written or read of the key meanwhile: what is not newer can be read back, and becomes readable no more. */
  by: Versioned | undefined;
  /** Whether a delete came that cannot be compared with anything. */
  isGone: boolean;
  /** Another execution's. Few keys are held by several at once. */
  next: Write | undefined;
}

interface Group extends Staged {
  readonly sinceMs: number;
  /** All it ever wrote. */
  readonly keys: string[];
  /** How many it still holds. */
  count: number;
}

/** Whether a write is not newer than another; it is not behind itself, as when its announcement is there before its answer. */
function isBehind(entry: Versioned, by: Versioned): boolean {
  const order = compareEntries(entry, by);
  return order < 0 || (order === 0 && !isSameStream(entry.origin, by.origin));
}

function isOvertaken({ entry, by, isGone }: Write): boolean {
  return isGone || (by !== undefined && isBehind(entry, by));
}

function overtakeAll(first: Write | undefined, by: Versioned): void {
  for (let write = first; write !== undefined; write = write.next)
    if (write.by === undefined || compareEntries(write.by, by) < 0) write.by = by;
}

/** Provisional entries. They are as many as executions hold in hand, and go when those end. */
export function createStaging(maxBytes: number) {
  const byToken = new Map<string, Group>();
  /** All executions' by key: every key that is written is looked up here, so it costs one look, not one for each of them. */
  const byKey = new Map<string, Write>();
  let all = 0;
  let bytes = 0;

  const groupOf = (token: string, nowMs: number): Group => {
    const known = byToken.get(token);
    if (known !== undefined) return known;
    const group: Group = {
      sinceMs: nowMs,
      keys: [],
      count: 0,
      get(key) {
        let write = byKey.get(key);
        while (write !== undefined && write.group !== group) write = write.next;
        return write?.entry;
      },
    };
    byToken.set(token, group);
    return group;
  };

  /** Takes a write out; undefined when the execution holds none. What others hold is overtaken by `by`. */
  const remove = (group: Group, key: string, by?: Versioned): Write | undefined => {
    const first = byKey.get(key);
    let before: Write | undefined;
    let write = first;
    while (write !== undefined && write.group !== group) {
      before = write;
      write = write.next;
    }
    if (write !== undefined) {
      if (before !== undefined) before.next = write.next;
      else if (write.next !== undefined) byKey.set(key, write.next);
      else byKey.delete(key);
      group.count -= 1;
      all -= 1;
      bytes -= costOf(write.entry, key);
    }
    if (by !== undefined) overtakeAll(before === undefined ? write?.next : first, by);
    return write;
  };

  const put = (group: Group, entry: LocalEntry, cost: number): void => {
    const { key } = entry;
    let next = byKey.get(key);
    if (next !== undefined) {
      remove(group, key);
      next = byKey.get(key);
    }
    // What overtook the others' overtakes this one too, unless it is newer.
    byKey.set(key, { group, entry, by: next?.by, isGone: false, next });
    group.keys.push(key);
    group.count += 1;
    all += 1;
    bytes += cost;
  };

  const drop = (token: string, group: Group): void => {
    byToken.delete(token);
    if (group.count > 0) for (const key of group.keys) remove(group, key);
  };

  return {
    /** Adds to what an execution has written. An entry that is larger than the whole store is not kept. */
    add(token: string, entries: readonly LocalEntry[], nowMs: number): void {
      // Those of executions that never came back.
      for (const [other, group] of byToken) {
        if (group.sinceMs > nowMs - MEMORY_MS) break;
        drop(other, group);
      }
      const group = groupOf(token, nowMs);
      for (const entry of entries) {
        const cost = costOf(entry, entry.key);
        if (cost <= maxBytes) put(group, entry, cost);
        else remove(group, entry.key);
      }
    },
    of: (token: string): Staged | undefined => byToken.get(token),
    /**
     * Calls `use` with a function that takes an entry out; undefined when the execution holds none, or it was overtaken. What
     * others hold of its key that is not newer than `by` becomes readable no more.
     */
    taking(
      token: string,
      use: (take: (key: string, by?: Versioned) => LocalEntry | undefined) => void,
    ): void {
      const group = byToken.get(token);
      use((key, by) => {
        if (group === undefined) {
          if (by !== undefined) overtakeAll(byKey.get(key), by);
          return undefined;
        }
        const write = remove(group, key, by);
        return write === undefined || isOvertaken(write) ? undefined : write.entry;
      });
      if (group?.count === 0) drop(token, group);
    },
    /** What any execution holds that is not newer than `by`, and not `by` itself, must not become readable any more. */
    overtake(key: string, by: Versioned | null): void {
      const first = byKey.get(key);
      if (by !== null) overtakeAll(first, by);
      else for (let write = first; write !== undefined; write = write.next) write.isGone = true;
    },
    clear(): void {
      byToken.clear();
      byKey.clear();
      all = 0;
      bytes = 0;
    },
    size: () => ({ entries: all, bytes }),
  };
}
