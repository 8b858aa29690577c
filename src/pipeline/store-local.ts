import { fail } from '../core/errors.ts';
import type { Clock, LocalEntry, LocalTier } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { Effect } from './effect.ts';

/**
 * `storeLocal`: writes each record to the local tier and reads it back, as the original does. What is written is
 * provisional: no reader is served from it before Redis has taken the record.
 */
export function createStoreLocal(options: { readonly localTier: LocalTier; readonly clock: Clock }): Effect {
  const { localTier, clock } = options;
  return async (runs) => {
    const token = runs[0]?.token ?? '';
    const storedMs = clock.now();
    const entries = runs.map((run) => (run.localEntry = localEntryOf(run, storedMs)));
    await localTier.stage(entries, token);
    const back = await localTier.staged(
      entries.map((entry) => entry.key),
      token,
    );
    return entries.map((entry, index) => {
      const found = back[index];
      const same =
        found !== undefined && found.text === entry.text && found.version.digits === entry.version.digits;
      return same ? 'storedLocally' : fail('E_LOCAL_MISMATCH', { key: entry.key });
    });
  };
}

/** The local entry of a fetched run. */
export function localEntryOf(run: Run, storedMs: number): LocalEntry {
  const { change, record } = run;
  if (change === undefined || record === undefined) {
    throw fail('E_UNEXPECTED', { what: `a store without a record (${run.id})` });
  }
  return {
    key: change.key,
    text: record.text,
    version: record.version,
    origin: run.message.origin,
    storedMs,
    ttlMs: change.service.localTtlMs,
    keepMs: change.service.read.keepMs,
  };
}
