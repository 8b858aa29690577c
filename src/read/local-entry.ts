import { decodeFence } from '../core/fence.ts';
import type { LocalEntry, StoredRecord } from '../core/ports.ts';

/** How long a service's entries are fresh, and kept beyond that for stale answers, milliseconds. */
export interface EntryLife {
  readonly localTtlMs: number;
  readonly keepMs: number;
}

/**
 * What Redis has, as an entry of the local tier; undefined without a version, since nothing could tell it from a later
 * write: such a value is served, not kept.
 */
export function localEntryFrom(
  key: string,
  stored: StoredRecord,
  { localTtlMs, keepMs, nowMs }: EntryLife & { readonly nowMs: number },
): LocalEntry | undefined {
  const fence = stored.fence === null ? undefined : decodeFence(stored.fence);
  if (fence?.version == null) return undefined;
  return {
    key,
    text: stored.text,
    version: fence.version,
    origin: fence.origin,
    storedMs: nowMs,
    ttlMs: stored.ttlMs > 0 ? Math.min(localTtlMs, stored.ttlMs) : localTtlMs,
    keepMs,
  };
}
