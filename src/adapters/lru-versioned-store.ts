/**
 * The store beneath keyv: a bounded lru-cache whose every change compares versions in one synchronous step, which keyv's
 * asynchronous calls cannot do (get, compare, set through keyv left the older of two values every time we tried).
 */
import { LRUCache } from 'lru-cache';
import { compareEntries, type Versioned } from '../core/entry-order.ts';
import type { Clock, LocalEntry, LocalTier } from '../core/ports.ts';
import type { Version } from '../core/service.ts';
import { compareDigits } from '../core/version.ts';

export interface VersionedStoreOptions {
  /** Readable entries at most. */
  readonly maxEntries: number;
  /** Bytes at most, by estimate: see {@link ENTRY_OVERHEAD_BYTES}. Provisional entries count and push readable ones out. */
  readonly maxBytes: number;
  readonly clock: Clock;
}

/** What one execution has written and Redis has not answered yet, by key. Several executions may hold a key at once. */
export type Staged = ReadonlyMap<string, LocalEntry>;

export interface VersionedStore {
  /** Adds to what `token` has staged. An entry that is larger than the whole store is not kept. */
  readonly stage: (token: string, entries: Staged) => void;
  readonly staged: (token: string) => Staged | undefined;
  readonly promote: (entry: LocalEntry, token: string) => void;
  readonly discard: LocalTier['discard'];
  readonly overtake: LocalTier['overtake'];
  readonly evict: LocalTier['evict'];
  readonly fill: (entry: LocalEntry) => void;
  readonly readable: (key: string, nowMs: number) => LocalEntry | undefined;
  readonly peek: (key: string) => LocalEntry | undefined;
  readonly clear: () => void;
  readonly size: LocalTier['size'];
}

/** A delete that must not be undone by an older write still on its way. */
interface Deleted {
  readonly version: Version;
  readonly untilMs: number;
}

/** What is held under one key; replaced as a whole, never changed, because lru-cache counts bytes only then. */
interface Slot {
  readonly entry: LocalEntry | undefined;
  readonly deleted: Deleted | undefined;
}

/** What an entry costs beside its text and key: objects, version, origin and lru-cache's own columns. */
const ENTRY_OVERHEAD_BYTES = 200;

const EMPTY: Slot = { entry: undefined, deleted: undefined };

/**
 * How long what an execution staged lives, and how long a delete is remembered, in milliseconds. Longer than any execution
 * waits for Redis; whatever comes later is decided by Redis alone, at the price of one miss.
 */
const MEMORY_MS = 60_000;

export function createVersionedStore({ maxEntries, maxBytes, clock }: VersionedStoreOptions): VersionedStore {
  const slots = new LRUCache<string, Slot>({ max: maxEntries, maxSize: maxBytes, sizeCalculation: bytesOf });
  const provisional = createStaging(maxBytes);

  const at = (key: string): Slot => slots.peek(key) ?? EMPTY;

  function put(key: string, slot: Slot): void {
    if (slot.entry !== undefined || (slot.deleted !== undefined && slot.deleted.untilMs > clock.now()))
      slots.set(key, slot);
    else slots.delete(key);
  }

  return {
    stage(token, entries) {
      provisional.add(token, entries, clock.now());
      while (slots.size > 0 && slots.calculatedSize + provisional.size().bytes > maxBytes) slots.pop();
    },
    staged: (token) => provisional.of(token),
    promote(entry, token) {
      const own = provisional.take(token, entry.key);
      // Redis has it and this tier has not: nothing else would keep an older write out that is answered later.
      if (own === undefined) provisional.overtake(entry.key, entry);
      put(entry.key, promoted(at(entry.key), entry, own, clock));
    },
    discard(key, token, readable) {
      provisional.take(token, key);
      const { entry, deleted } = at(key);
      if (readable === undefined || entry === undefined || !isBehind(entry, readable.version, -1)) return;
      // It was served: an older write that is answered later must not take its place.
      provisional.overtake(key, entry);
      put(key, { entry: undefined, deleted });
    },
    overtake: provisional.overtake,
    evict: (key, version) => put(key, evicted(at(key), version, clock)),
    fill(entry) {
      const slot = at(entry.key);
      put(entry.key, { entry: newest(slot, entry, clock), deleted: slot.deleted });
    },
    readable(key, nowMs) {
      const slot = slots.get(key);
      if (slot?.entry === undefined) return undefined;
      if (isKept(slot.entry, nowMs)) return slot.entry;
      put(key, { entry: undefined, deleted: slot.deleted });
      return undefined;
    },
    peek(key) {
      const entry = slots.peek(key)?.entry;
      return entry !== undefined && isKept(entry, clock.now()) ? entry : undefined;
    },
    clear() {
      slots.clear();
      provisional.clear();
    },
    size() {
      const { entries, bytes } = provisional.size();
      return { entries: slots.size + entries, bytes: slots.calculatedSize + bytes };
    },
  };
}

/** Provisional entries by execution. They are as many as executions hold in hand, and go when those end. */
function createStaging(maxBytes: number) {
  const byToken = new Map<string, { readonly entries: Map<string, LocalEntry>; readonly sinceMs: number }>();
  let count = 0;
  let bytes = 0;

  const forget = (entry: LocalEntry): void => {
    count -= 1;
    bytes -= costOf(entry.key, entry);
  };
  /** Those of executions that never came back. */
  const expire = (nowMs: number): void => {
    for (const [token, { entries, sinceMs }] of byToken) {
      if (sinceMs > nowMs - MEMORY_MS) return;
      for (const entry of entries.values()) forget(entry);
      byToken.delete(token);
    }
  };

  return {
    add(token: string, added: Staged, nowMs: number): void {
      expire(nowMs);
      const held = byToken.get(token)?.entries ?? new Map<string, LocalEntry>();
      if (held.size === 0) byToken.set(token, { entries: held, sinceMs: nowMs });
      for (const entry of added.values()) {
        const cost = costOf(entry.key, entry);
        if (cost > maxBytes) continue;
        const earlier = held.get(entry.key);
        if (earlier !== undefined) forget(earlier);
        held.set(entry.key, entry);
        count += 1;
        bytes += cost;
      }
    },
    of: (token: string): Staged | undefined => byToken.get(token)?.entries,
    /** Takes an entry out; undefined when the execution does not hold one. */
    take(token: string, key: string): LocalEntry | undefined {
      const held = byToken.get(token)?.entries;
      const entry = held?.get(key);
      if (held === undefined || entry === undefined) return undefined;
      held.delete(key);
      forget(entry);
      if (held.size === 0) byToken.delete(token);
      return entry;
    },
    /** Drops of every execution what is not newer than `by`. */
    overtake(key: string, by: Versioned | null): void {
      for (const { entries } of byToken.values()) {
        const entry = entries.get(key);
        if (entry === undefined || (by !== null && compareEntries(entry, by) > 0)) continue;
        entries.delete(key);
        forget(entry);
      }
    },
    clear(): void {
      byToken.clear();
      count = 0;
      bytes = 0;
    },
    size: () => ({ entries: count, bytes }),
  };
}

function promoted(slot: Slot, entry: LocalEntry, own: LocalEntry | undefined, clock: Clock): Slot {
  if (own !== undefined && isSame(own.version, entry.version))
    return { entry: newest(slot, own, clock), deleted: slot.deleted };
  const isOlder = slot.entry !== undefined && compareEntries(slot.entry, entry) < 0;
  return { entry: isOlder ? undefined : slot.entry, deleted: slot.deleted };
}

function evicted(slot: Slot, version: Version | null, clock: Clock): Slot {
  const isDropped = slot.entry !== undefined && isBehind(slot.entry, version, 0);
  return {
    entry: isDropped ? undefined : slot.entry,
    deleted: laterDelete(slot.deleted, version, clock),
  };
}

/** What is readable after `entry` was taken by Redis: the newer of both, or nothing after a later delete. */
function newest(slot: Slot, entry: LocalEntry, clock: Clock): LocalEntry | undefined {
  if (slot.entry !== undefined && compareEntries(slot.entry, entry) > 0) return slot.entry;
  const { deleted } = slot;
  if (deleted === undefined || deleted.untilMs <= clock.now()) return entry;
  return isBehind(entry, deleted.version, 0) ? undefined : entry;
}

/**
 * Whether the entry's version is below the given one (`reach` -1) or at most as high (`reach` 0). What cannot be
 * compared counts as behind: no version, another kind, and offsets, which mean nothing without their stream.
 */
function isBehind(entry: LocalEntry, version: Version | null, reach: -1 | 0): boolean {
  if (version === null || version.kind === 'offset' || entry.version.kind !== version.kind) return true;
  return compareDigits(entry.version.digits, version.digits) <= reach;
}

/** The higher of two deletes. One without a comparable version leaves nothing to compare a later write with. */
function laterDelete(known: Deleted | undefined, version: Version | null, clock: Clock): Deleted | undefined {
  if (version === null || version.kind === 'offset') return known;
  const isHigher =
    known?.version.kind !== version.kind || compareDigits(known.version.digits, version.digits) < 0;
  return { version: isHigher ? version : known.version, untilMs: clock.now() + MEMORY_MS };
}

function isKept({ storedMs, ttlMs, keepMs = 0 }: LocalEntry, nowMs: number): boolean {
  return storedMs + ttlMs + keepMs > nowMs;
}

function isSame(a: Version, b: Version): boolean {
  return a.kind === b.kind && a.digits === b.digits;
}

function bytesOf({ entry }: Slot, key: string): number {
  return entry === undefined ? key.length + ENTRY_OVERHEAD_BYTES : costOf(key, entry);
}

function costOf(key: string, { text }: LocalEntry): number {
  return key.length + ENTRY_OVERHEAD_BYTES + text.length;
}
