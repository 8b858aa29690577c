/**
 * The store beneath keyv: a bounded lru-cache whose every change compares versions in one synchronous step, which keyv's
 * asynchronous calls cannot do (get, compare, set through keyv left the older of two values every time we tried).
 */
import { LRUCache } from 'lru-cache';
import { compareEntries } from '../core/entry-order.ts';
import type { Clock, LocalEntry, LocalTier } from '../core/ports.ts';
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
  readonly stage: (provisional: Provisional) => void;
  /** The provisional entries of a key, newest first by {@link Provisional.next}. */
  readonly provisional: (key: string) => Provisional | undefined;
  readonly promote: (entry: LocalEntry, token: string) => void;
  readonly discard: LocalTier['discard'];
  readonly evict: LocalTier['evict'];
  readonly fill: (entry: LocalEntry) => void;
  readonly readable: (key: string) => LocalEntry | undefined;
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
  readonly provisional: Provisional | undefined;
  readonly deleted: Deleted | undefined;
}

/** What an entry costs beside its text and key: objects, version, origin and lru-cache's own columns. */
const ENTRY_OVERHEAD_BYTES = 200;

const EMPTY: Slot = { entry: undefined, provisional: undefined, deleted: undefined };

/**
 * How long a provisional entry lives, and how long a delete is remembered, in milliseconds. Longer than any execution
 * waits for Redis; whatever comes later is decided by Redis alone, at the price of one miss.
 */
const MEMORY_MS = 60_000;

export function createVersionedStore({ maxEntries, maxBytes, clock }: VersionedStoreOptions): VersionedStore {
  const slots = new LRUCache<string, Slot>({ max: maxEntries, maxSize: maxBytes, sizeCalculation: bytesOf });

  const at = (key: string): Slot => slots.peek(key) ?? EMPTY;

  function put(key: string, slot: Slot): void {
    const isRemembered = slot.deleted !== undefined && slot.deleted.untilMs > clock.now();
    if (slot.entry === undefined && slot.provisional === undefined && !isRemembered) slots.delete(key);
    else slots.set(key, slot);
  }

  return {
    stage: (provisional) => put(provisional.entry.key, staged(at(provisional.entry.key), provisional)),
    provisional: (key) => slots.peek(key)?.provisional,
    promote: (entry, token) => put(entry.key, promoted(at(entry.key), entry, token, clock)),
    discard: (key, token, readable) => put(key, discarded(at(key), token, readable)),
    evict: (key, version) => put(key, evicted(at(key), version, clock)),
    fill(entry) {
      const slot = at(entry.key);
      put(entry.key, { ...slot, entry: newest(slot, entry, clock) });
    },
    readable(key) {
      const slot = slots.get(key);
      if (slot?.entry === undefined) return undefined;
      if (isKept(slot.entry, clock)) return slot.entry;
      put(key, { ...slot, entry: undefined });
      return undefined;
    },
    peek(key) {
      const entry = slots.peek(key)?.entry;
      return entry !== undefined && isKept(entry, clock) ? entry : undefined;
    },
    clear: () => slots.clear(),
    size: () => ({ entries: slots.size, bytes: slots.calculatedSize }),
  };
}

function staged(slot: Slot, provisional: Provisional): Slot {
  provisional.next = without(slot.provisional, provisional.token, provisional.entry.storedMs - MEMORY_MS);
  return { entry: slot.entry, provisional, deleted: slot.deleted };
}

function promoted(slot: Slot, entry: LocalEntry, token: string, clock: Clock): Slot {
  const own = ofToken(slot.provisional, token);
  const provisional = own === undefined ? slot.provisional : without(slot.provisional, token);
  if (own !== undefined && isSame(own.entry.version, entry.version)) {
    return { entry: newest(slot, own.entry, clock), provisional, deleted: slot.deleted };
  }
  const isOlder = slot.entry !== undefined && compareEntries(slot.entry, entry) < 0;
  return { entry: isOlder ? undefined : slot.entry, provisional, deleted: slot.deleted };
}

function discarded(
  slot: Slot,
  token: string,
  readable: { readonly version: Version | null } | undefined,
): Slot {
  const isDropped =
    readable !== undefined && slot.entry !== undefined && isBehind(slot.entry, readable.version, -1);
  return {
    entry: isDropped ? undefined : slot.entry,
    provisional: without(slot.provisional, token),
    deleted: slot.deleted,
  };
}

function evicted(slot: Slot, version: Version | null, clock: Clock): Slot {
  const isDropped = slot.entry !== undefined && isBehind(slot.entry, version, 0);
  return {
    entry: isDropped ? undefined : slot.entry,
    provisional: slot.provisional,
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

function isKept({ storedMs, ttlMs, keepMs = 0 }: LocalEntry, clock: Clock): boolean {
  return storedMs + ttlMs + keepMs > clock.now();
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
