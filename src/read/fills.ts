import { compareEntries } from '../core/entry-order.ts';
import type { Coherence, CoherenceStats, LocalEntry, LocalTier } from '../core/ports.ts';
import type { Generations } from './generations.ts';

/** The part of {@link Coherence} that guards fills of the local tier. */
export function createFills(
  localTier: LocalTier,
  generations: Generations,
): Pick<Coherence, 'generationOf' | 'isCurrent' | 'fill' | 'fillMany'> {
  const isCurrent = (key: string, generation: number): boolean => generations.of(key) === generation;

  /** Something changed, perhaps by an older write of this instance that was answered late: what is read stays right. */
  const isNewerThanHeld = (entry: LocalEntry): boolean => {
    const held = localTier.peek(entry.key);
    return held !== undefined && compareEntries(held, entry) < 0;
  };

  const fillMany: Coherence['fillMany'] = async (fills) => {
    // All are looked at before any of them counts as a change: keys share counters, and two of them that are always read
    // together would void each other for ever.
    const areFirst = fills.map(({ entry, generation }) => isCurrent(entry.key, generation));
    for (const { entry } of fills) {
      // An older write of this instance that Redis answers only now must not become readable behind what has been read.
      localTier.overtake(entry.key, entry);
      // Other reads under way may have found something older, and whoever asked for this one is told it, kept or not.
      generations.bump(entry.key);
    }
    const filling = fills.map(async ({ entry }, index) => {
      const { key } = entry;
      const own = generations.of(key);
      if (areFirst[index] !== true && !isNewerThanHeld(entry)) return false;
      await localTier.fill(entry);
      if (isCurrent(key, own)) return true;
      // It changed while the entry was on its way into the tier. Should a newer one be there by now, that costs a miss.
      localTier.discard(key, '', { version: null });
      return false;
    });
    return Promise.all(filling);
  };

  return {
    generationOf: generations.of,
    isCurrent,
    fill: async (entry, generation) => (await fillMany([{ entry, generation }]))[0] === true,
    fillMany,
  };
}

/** The coherence of a local tier that no other instance writes beside: there is nothing to follow. */
export function createLoneCoherence(localTier: LocalTier, generations: Generations): Coherence {
  return {
    ...createFills(localTier, generations),
    state: () => 'fresh',
    stats: (): CoherenceStats => ({
      state: 'fresh',
      heardMsAgo: null,
      resyncs: { start: 0, reconnect: 0, server: 0, gap: 0, counter: 0, format: 0 },
      entries: 0,
      ownEntries: 0,
      refreshed: 0,
      dropped: 0,
    }),
  };
}
