/**
 * The store beneath keyv: a bounded lru-cache whose every change compares versions in one synchronous step, which keyv's
 * asynchronous calls cannot do (get, compare, set through keyv left the older of two values every time we tried).
 */
import { LRUCache } from 'lru-cache';
import { compareEntries } from './entry-order.ts';
import type { Clock, LocalEntry } from '../core/ports.ts';
import type { Version } from '../core/service.ts';
import { compareDigits } from '../core/version.ts';

export interface VersionedStoreOptions {
  /** Keys at most, with a readable entry or only provisional ones. */
  readonly maxEntries: number;
  /** Bytes at most, by estimate: see {@link ENTRY_OVERHEAD_BYTES}. Provisional entries count. */
  readonly maxBytes: number;
  readonly clock: Clock;
}

/** An entry that waits for Redis' answer. Several executions may hold one for the same key at once. */
export interface Provisional {
  readonly entry: LocalEntry;
  /** The execution it belongs to. */
  readonly token: string;
  /** Older ones of the same key; kept by the store. */
  next: Provisional | undefined;
}

export interface VersionedStore {
  stage(provisional: Provisional): void;
  /** The provisional entries of a key, newest first by {@link Provisional.next}. */
  provisional(key: string): Provisional | undefined;
  promote(entry: LocalEntry, token: string): void;
  discard(key: string, token: string, readable?: { readonly version: Version | null }): void;
  evict(key: string, version: Version | null): void;
  fill(entry: LocalEntry): void;
  readable(key: string): LocalEntry | undefined;
  /** Drops what is readable under the key, whatever its version. */
  drop(key: string): boolean;
  clear(): void;
  size(): { readonly entries: number; readonly bytes: number };
}

/** A delete that must not be undone by an older write still on its way. */
interface Deleted {
  readonly version: Version;
  readonly untilMs: number;
}

/** What is held under one key; replaced as a whole, never changed, because lru-cache counts bytes only then. */
interface Slot {
  readonly entry: LocalEntry | undefined;
  readonly provisional: Provisional | undefined;
  readonly deleted: Deleted | undefined;
}

/** What an entry costs beside its text and key: objects, version, origin and lru-cache's own columns. */
const ENTRY_OVERHEAD_BYTES = 200;

/**
 * How long a provisional entry lives, and how long a delete is remembered, in milliseconds. Longer than any execution
 * waits for Redis; whatever comes later is decided by Redis alone, at the price of one miss.
 */
const MEMORY_MS = 60_000;

export function createVersionedStore({ maxEntries, maxBytes, clock }: VersionedStoreOptions): VersionedStore {
  const slots = new LRUCache<string, Slot>({ max: maxEntries, maxSize: maxBytes, sizeCalculation: bytesOf });

  function put(
    key: string,
    entry: LocalEntry | undefined,
    provisional: Provisional | undefined,
    deleted?: Deleted,
  ): void {
    const remembered = deleted !== undefined && deleted.untilMs > clock.now() ? deleted : undefined;
    if (entry === undefined && provisional === undefined && remembered === undefined) slots.delete(key);
    else slots.set(key, { entry, provisional, deleted: remembered });
  }

  return {
    stage(provisional) {
      const { key, storedMs } = provisional.entry;
      const slot = slots.peek(key);
      provisional.next = without(slot?.provisional, provisional.token, storedMs - MEMORY_MS);
      put(key, slot?.entry, provisional, slot?.deleted);
    },
    provisional: (key) => slots.peek(key)?.provisional,
    promote(entry, token) {
      const slot = slots.peek(entry.key);
      if (slot === undefined) return;
      const own = ofToken(slot.provisional, token);
      const rest = own === undefined ? slot.provisional : without(slot.provisional, token);
      if (own !== undefined && isSame(own.entry.version, entry.version)) {
        put(entry.key, newest(slot, own.entry, clock), rest, slot.deleted);
        return;
      }
      const isOlder = slot.entry !== undefined && compareEntries(slot.entry, entry) < 0;
      put(entry.key, isOlder ? undefined : slot.entry, rest, slot.deleted);
    },
    discard(key, token, readable) {
      const slot = slots.peek(key);
      if (slot === undefined) return;
      const drops =
        readable !== undefined && slot.entry !== undefined && isBehind(slot.entry, readable.version, -1);
      put(key, drops ? undefined : slot.entry, without(slot.provisional, token), slot.deleted);
    },
    evict(key, version) {
      const slot = slots.peek(key);
      const drops = slot?.entry !== undefined && isBehind(slot.entry, version, 0);
      const deleted = version === null ? slot?.deleted : laterDelete(slot?.deleted, version, clock);
      put(key, drops ? undefined : slot?.entry, slot?.provisional, deleted);
    },
    fill(entry) {
      const slot = slots.peek(entry.key);
      put(
        entry.key,
        slot === undefined ? entry : newest(slot, entry, clock),
        slot?.provisional,
        slot?.deleted,
      );
    },
    readable(key) {
      const slot = slots.get(key);
      if (slot?.entry === undefined) return undefined;
      if (slot.entry.storedMs + slot.entry.ttlMs > clock.now()) return slot.entry;
      put(key, undefined, slot.provisional, slot.deleted);
      return undefined;
    },
    drop(key) {
      const slot = slots.peek(key);
      if (slot?.entry === undefined) return false;
      put(key, undefined, slot.provisional, slot.deleted);
      return true;
    },
    clear: () => slots.clear(),
    size: () => ({ entries: slots.size, bytes: slots.calculatedSize }),
  };
}

/** What is readable after `entry` was taken by Redis: the newer of both, or nothing after a later delete. */
function newest(slot: Slot, entry: LocalEntry, clock: Clock): LocalEntry | undefined {
  if (slot.entry !== undefined && compareEntries(slot.entry, entry) > 0) return slot.entry;
  const { deleted } = slot;
  if (deleted === undefined || deleted.untilMs <= clock.now()) return entry;
  return isBehind(entry, deleted.version, 0) ? undefined : entry;
}

/** Whether the entry's version is below the given one (`reach` -1) or at most as high (`reach` 0). Other kinds, and none, count as behind. */
function isBehind(entry: LocalEntry, version: Version | null, reach: -1 | 0): boolean {
  if (version === null || entry.version.kind !== version.kind) return true;
  return Math.sign(compareDigits(entry.version.digits, version.digits)) <= reach;
}

function laterDelete(known: Deleted | undefined, version: Version, clock: Clock): Deleted {
  const isNewer =
    known === undefined ||
    known.version.kind !== version.kind ||
    compareDigits(known.version.digits, version.digits) < 0;
  return { version: isNewer ? version : known.version, untilMs: clock.now() + MEMORY_MS };
}

function isSame(a: Version, b: Version): boolean {
  return a.kind === b.kind && a.digits === b.digits;
}

function ofToken(first: Provisional | undefined, token: string): Provisional | undefined {
  for (let at = first; at !== undefined; at = at.next) if (at.token === token) return at;
  return undefined;
}

/** The chain without the entry of this token, and without those stored at or before `expiredMs`. */
function without(first: Provisional | undefined, token: string, expiredMs = 0): Provisional | undefined {
  if (first === undefined) return undefined;
  const next = without(first.next, token, expiredMs);
  if (first.token === token || first.entry.storedMs <= expiredMs) return next;
  return next === first.next ? first : { ...first, next };
}

function bytesOf(slot: Slot, key: string): number {
  let bytes = key.length + ENTRY_OVERHEAD_BYTES + (slot.entry?.text.length ?? 0);
  for (let at = slot.provisional; at !== undefined; at = at.next) {
    bytes += key.length + ENTRY_OVERHEAD_BYTES + at.entry.text.length;
  }
  return bytes;
}
