import { decodeFence } from '../core/fence.ts';
import type { CachewrightError } from '../core/errors.ts';
import type { LocalEntry, StoredRecord } from '../core/ports.ts';
import type { Service, Version } from '../core/service.ts';

/** What of a service its readers need. */
export type ReadService = Pick<
  Service,
  | 'id'
  | 'keyOf'
  | 'source'
  | 'version'
  | 'checkRecord'
  | 'ttlMs'
  | 'ttlJitter'
  | 'fenceTtlMs'
  | 'localTtlMs'
  | 'read'
>;

/** Where a record came from. `stale`: the local tier's, though it is no longer, or not known to be, the newest. */
export type ReadTier = 'local' | 'redis' | 'source' | 'stale';

/** A record as a reader gets it. */
export interface ReadRecord {
  /** The record's JSON text, byte for byte. */
  readonly text: string;
  /** undefined: none is known. */
  readonly version: Version | undefined;
  readonly tier: ReadTier;
  /** Since this instance took it, milliseconds; null from Redis, which does not tell. */
  readonly ageMs: number | null;
  /** It was read while this instance had lost sight of the changes of others. */
  readonly isBlind: boolean;
  /** What the local tier keeps; undefined when it keeps nothing. */
  readonly entry: LocalEntry | undefined;
}

/** How a read of one record ended. */
export type ReadOutcome =
  | { readonly kind: 'found'; readonly record: ReadRecord }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

export const ABSENT: ReadOutcome = Object.freeze({ kind: 'absent' });

export function failedRead(error: CachewrightError): ReadOutcome {
  return { kind: 'failed', error };
}

/** A record of the local tier. */
export function localRecord(
  entry: LocalEntry,
  tier: 'local' | 'stale',
  nowMs: number,
  isBlind = false,
): ReadRecord {
  const { text, version, storedMs } = entry;
  return { text, version, tier, ageMs: nowMs - storedMs, isBlind, entry };
}

/**
 * A record of Redis.
 *
 * @param random in [0, 1): how much earlier than its time to live the local entry may end, as a share of the service's jitter
 */
export function redisRecord(
  service: ReadService,
  key: string,
  { text, fence, ttlMs }: StoredRecord,
  nowMs: number,
  random: number,
): ReadRecord {
  const known = fence === null ? undefined : decodeFence(fence);
  // Without a version there is nothing to compare a later write with: such a value is served, not kept.
  if (known?.version == null)
    return { text, version: undefined, tier: 'redis', ageMs: null, isBlind: false, entry: undefined };
  const entry: LocalEntry = {
    key,
    text,
    version: known.version,
    origin: known.origin,
    storedMs: nowMs,
    ttlMs: localLife(service, ttlMs, random),
    keepMs: service.read.keepMs,
  };
  return { text, version: known.version, tier: 'redis', ageMs: null, isBlind: false, entry };
}

/** How long a local entry is fresh: never for longer than Redis keeps the value. */
export function localLife(
  { localTtlMs, ttlJitter }: ReadService,
  redisTtlMs: number,
  random: number,
): number {
  const freshMs = localTtlMs * (1 - ttlJitter * random);
  return Math.max(1, Math.round(redisTtlMs > 0 ? Math.min(freshMs, redisTtlMs) : freshMs));
}
