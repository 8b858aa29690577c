import { reasonOf } from '../core/errors.ts';
import type { Clock, Coherence, Fill, LocalTier, Log, RedisTier } from '../core/ports.ts';
import { type EntryLife, localEntryFrom } from './local-entry.ts';

/** Keys read from Redis at once, and keys that may wait for it: what is more is dropped, which is as right and costs less. */
const MAX_BATCH = 1_000;
const MAX_WAITING = 5_000;

/** Replaces held entries by what Redis has now, in batches, one at a time; never asks a source. */
export interface Refresher {
  /** Until Redis has answered the old entry is served; false: too many wait, drop it. */
  add(key: string, life: EntryLife): boolean;
  /** What is not answered yet has been served for too long: it is dropped. */
  drop(): void;
  /** Nothing that waits is needed any more. */
  clear(): void;
}

export function createRefresher(options: {
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly fills: Pick<Coherence, 'generationOf' | 'fillMany'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly onRefreshed: () => void;
  readonly onDropped: () => void;
}): Refresher {
  const { localTier, redisTier, fills, clock, log } = options;
  const waiting = new Map<string, EntryLife>();
  let asked: readonly string[] = [];
  let isRunning = false;

  const drop = (key: string): void => {
    localTier.discard(key, '', { version: null });
    options.onDropped();
  };

  async function refresh(batch: readonly (readonly [key: string, life: EntryLife])[]): Promise<void> {
    const keys = batch.map(([key]) => key);
    const generations = keys.map(fills.generationOf);
    asked = keys;
    const found = await redisTier.read(keys).catch((thrown: unknown) => {
      log.debug({ reason: reasonOf(thrown) }, 'changed keys could not be read: they are dropped');
      return [];
    });
    asked = [];
    const nowMs = clock.now();
    const refreshed = batch.flatMap(([key, life], index): Fill[] => {
      const stored = found[index];
      const entry = stored == null ? undefined : localEntryFrom(key, stored, { ...life, nowMs });
      if (entry !== undefined) return [{ entry, generation: generations[index] ?? -1 }];
      // Nothing to replace it with: what is held goes, whatever came meanwhile. At worst that costs a miss.
      drop(key);
      return [];
    });
    for (const isKept of await fills.fillMany(refreshed)) if (isKept) options.onRefreshed();
  }

  async function run(): Promise<void> {
    isRunning = true;
    while (waiting.size > 0) {
      const batch = [...waiting].slice(0, MAX_BATCH);
      for (const [key] of batch) waiting.delete(key);
      await refresh(batch);
    }
    isRunning = false;
  }

  return {
    add(key, life) {
      if (waiting.size >= MAX_WAITING && !waiting.has(key)) return false;
      waiting.set(key, life);
      if (!isRunning) void run();
      return true;
    },
    drop() {
      for (const key of [...asked, ...waiting.keys()]) drop(key);
      asked = [];
      waiting.clear();
    },
    clear: () => waiting.clear(),
  };
}
