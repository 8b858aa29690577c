/**
 * The store beneath keyv: a bounded lru-cache whose every change compares versions in one synchronous step, which keyv's
 * asynchronous calls cannot do (get, compare, set through keyv left the older of two values every time we tried).
 */
import { LRUCache } from 'lru-cache';
import { compareEntries } from '../core/entry-order.ts';
import type { Clock, LocalEntry, LocalTier } from '../core/ports.ts';
import type { Version } from '../core/service.ts';
import { compareDigits } from '../core/version.ts';
import { costOf, createStaging, MEMORY_MS, type Staged } from './staged-entries.ts';

export interface VersionedStoreOptions {
  /** Readable entries at most. */
  readonly maxEntries: number;
  /** Bytes at most, by estimate: see {@link costOf}. Provisional entries count and push readable ones out. */
  readonly maxBytes: number;
  readonly clock: Clock;
}

export interface VersionedStore {
  /** Adds to what `token` has staged. An entry that is larger than the whole store is not kept. */
  readonly stage: (token: string, entries: readonly LocalEntry[]) => void;
  readonly staged: (token: string) => Staged | undefined;
  readonly promote: LocalTier['promote'];
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

/** Deletes remembered at most; the oldest give way. */
const MAX_DELETES = 100_000;

export function createVersionedStore({ maxEntries, maxBytes, clock }: VersionedStoreOptions): VersionedStore {
  const readable = new LRUCache<string, LocalEntry>({
    max: maxEntries,
    maxSize: maxBytes,
    sizeCalculation: costOf,
  });
  const provisional = createStaging(maxBytes);
  const deletes = createDeletes(clock);

  function put(key: string, entry: LocalEntry | undefined): void {
    if (entry === undefined) readable.delete(key);
    else readable.set(key, entry);
  }

  /** The newer of both, or nothing after a later delete. */
  function newest(held: LocalEntry | undefined, entry: LocalEntry): LocalEntry | undefined {
    if (held !== undefined && compareEntries(held, entry) > 0) return held;
    return deletes.isAfter(entry) ? undefined : entry;
  }

  return {
    stage(token, entries) {
      provisional.add(token, entries, clock.now());
      while (readable.size > 0 && readable.calculatedSize + provisional.size().bytes > maxBytes)
        readable.pop();
    },
    staged: (token) => provisional.of(token),
    promote(entries, token) {
      provisional.taking(token, (take) => {
        for (const entry of entries) {
          const { key } = entry;
          // Nothing else keeps out an older write that is answered later, when this entry has left the tier by then.
          const own = take(key, entry);
          const held = readable.peek(key);
          if (own !== undefined && isSame(own.version, entry.version)) put(key, newest(held, own));
          else if (held !== undefined && compareEntries(held, entry) < 0) readable.delete(key);
        }
      });
    },
    discard(key, token, by) {
      provisional.taking(token, (take) => take(key));
      const held = readable.peek(key);
      if (by === undefined || held === undefined || !isBehind(held, by.version, -1)) return;
      // It was served: an older write that is answered later must not take its place.
      provisional.overtake(key, held);
      readable.delete(key);
    },
    overtake: provisional.overtake,
    evict(key, version) {
      const held = readable.peek(key);
      if (held !== undefined && isBehind(held, version, 0)) readable.delete(key);
      if (version === null || version.kind === 'offset') provisional.overtake(key, null);
      else deletes.add(key, version);
    },
    fill: (entry) => put(entry.key, newest(readable.peek(entry.key), entry)),
    readable(key, nowMs) {
      const held = readable.get(key);
      if (held === undefined || isKept(held, nowMs)) return held;
      readable.delete(key);
      return undefined;
    },
    peek(key) {
      const held = readable.peek(key);
      return held !== undefined && isKept(held, clock.now()) ? held : undefined;
    },
    clear() {
      readable.clear();
      deletes.clear();
      provisional.clear();
    },
    size() {
      const { entries, bytes } = provisional.size();
      return { entries: readable.size + entries, bytes: readable.calculatedSize + bytes };
    },
  };
}

/** The deletes of the last minute. */
function createDeletes(clock: Clock) {
  const byKey = new Map<string, Deleted>();
  return {
    add(key: string, version: Version): void {
      const nowMs = clock.now();
      for (const [oldest, { untilMs }] of byKey) {
        if (untilMs > nowMs && byKey.size < MAX_DELETES) break;
        byKey.delete(oldest);
      }
      const known = byKey.get(key)?.version;
      const isHigher = known?.kind !== version.kind || compareDigits(known.digits, version.digits) < 0;
      // Behind all others: the order is that of their ends.
      byKey.delete(key);
      byKey.set(key, { version: isHigher ? version : known, untilMs: nowMs + MEMORY_MS });
    },
    /** Whether a delete is remembered that the entry does not come after. */
    isAfter(entry: LocalEntry): boolean {
      const deleted = byKey.size === 0 ? undefined : byKey.get(entry.key);
      return deleted !== undefined && deleted.untilMs > clock.now() && isBehind(entry, deleted.version, 0);
    },
    clear: (): void => byKey.clear(),
  };
}

/**
 * Whether the entry's version is below the given one (`reach` -1) or at most as high (`reach` 0). What cannot be
 * compared counts as behind: no version, another kind, and offsets, which mean nothing without their stream.
 */
function isBehind(entry: LocalEntry, version: Version | null, reach: -1 | 0): boolean {
  if (version === null || version.kind === 'offset' || entry.version.kind !== version.kind) return true;
  return compareDigits(entry.version.digits, version.digits) <= reach;
}

function isKept({ storedMs, ttlMs, keepMs = 0 }: LocalEntry, nowMs: number): boolean {
  return storedMs + ttlMs + keepMs > nowMs;
}

function isSame(a: Version, b: Version): boolean {
  return a.kind === b.kind && a.digits === b.digits;
}
