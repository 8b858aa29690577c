/** Provisional entries of the local tier, by the execution that wrote them. */
import { compareEntries, isSameStream, type Versioned } from '../core/entry-order.ts';
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
  readonly sinceMs: number;
  bytes: number;
}

/** A key that executions hold. */
interface Held {
  /** Executions. */
  count: number;
  /** The newest that was written or read of it meanwhile: what is not newer can be read back, and becomes readable no more. */
  by: Versioned | undefined;
  /** What was held when a delete came that cannot be compared with anything. */
  gone: Set<LocalEntry> | undefined;
}

/** Whether a write is not newer than another; it is not behind itself, as when its announcement is there before its answer. */
function isBehind(entry: Versioned, by: Versioned): boolean {
  const order = compareEntries(entry, by);
  return order < 0 || (order === 0 && !isSameStream(entry.origin, by.origin));
}

/** Provisional entries by execution. They are as many as executions hold in hand, and go when those end. */
export function createStaging(maxBytes: number) {
  const byToken = new Map<string, Group>();
  // A look into each group for every key that is written would cost ten times as much.
  const byKey = new Map<string, Held>();
  let all = 0;
  let bytes = 0;

  const put = (group: Group, key: string, cost: number): void => {
    const held = byKey.get(key);
    if (held === undefined) byKey.set(key, { count: 1, by: undefined, gone: undefined });
    else held.count += 1;
    group.bytes += cost;
    all += 1;
    bytes += cost;
  };
  /** Takes an entry out; undefined when the execution holds none, or it was overtaken. */
  const remove = (group: Group, key: string): LocalEntry | undefined => {
    const entry = group.entries.get(key);
    if (entry === undefined) return undefined;
    const cost = costOf(entry, key);
    group.entries.delete(key);
    group.bytes -= cost;
    all -= 1;
    bytes -= cost;
    const held = byKey.get(key);
    if (held === undefined) return entry;
    held.count -= 1;
    if (held.count === 0) byKey.delete(key);
    const isOvertaken = (held.by !== undefined && isBehind(entry, held.by)) || held.gone?.has(entry) === true;
    return isOvertaken ? undefined : entry;
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
      const group = known ?? { entries: added, sinceMs: nowMs, bytes: 0 };
      byToken.set(token, group);
      for (const [key, entry] of added) {
        const cost = costOf(entry, key);
        if (known !== undefined) remove(known, key);
        if (cost > maxBytes) {
          added.delete(key);
          continue;
        }
        if (known !== undefined) known.entries.set(key, entry);
        put(group, key, cost);
      }
    },
    of: (token: string): Staged | undefined => byToken.get(token)?.entries,
    /** Calls `use` with a function that takes an entry out; undefined when the execution holds none, or it was overtaken. */
    taking(token: string, use: (take: (key: string) => LocalEntry | undefined) => void): void {
      const group = byToken.get(token);
      use((key) => (group === undefined ? undefined : remove(group, key)));
      if (group?.entries.size === 0) drop(token, group);
    },
    /** What any execution holds that is not newer than `by`, and not `by` itself, must not become readable any more. */
    overtake(key: string, by: Versioned | null): void {
      const held = byKey.get(key);
      if (held === undefined) return;
      if (by !== null) {
        if (held.by === undefined || compareEntries(held.by, by) < 0) held.by = by;
        return;
      }
      held.gone ??= new Set();
      for (const { entries } of byToken.values()) {
        const entry = entries.get(key);
        if (entry !== undefined) held.gone.add(entry);
      }
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
