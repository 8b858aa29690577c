import { beforeEach, describe, expect, it } from 'vitest';
import { entryOf, standingClock } from '../support/tier-entries.ts';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import type { Coherence, LocalTier } from '../../src/core/ports.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createLoneCoherence } from '../../src/read/fills.ts';
import { createGenerations } from '../../src/read/generations.ts';
import { slotOf } from '../../src/core/fnv.ts';

describe('a fill of the local tier', () => {
  let tier: LocalTier;
  let coherence: Coherence;
  beforeEach(() => {
    const generations = createGenerations();
    const inner = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: 1_000_000, clock: standingClock() });
    tier = createCoherentLocalTier(inner, generations);
    coherence = createLoneCoherence(tier, generations);
  });

  it('is kept when its key did not change, whatever other keys did', async () => {
    const generation = coherence.generationOf('a');
    tier.evict('b', null);
    expect(await coherence.fill(entryOf('a', '1'), generation)).toBe(true);
    expect(await tier.get('a')).toMatchObject({ text: 'text 1' });
  });

  it.each<[change: string, make: () => void]>([
    ['is written', () => tier.promote([entryOf('a', '1')], 'job.1')],
    ['is deleted', () => tier.evict('a', null)],
    ['is dropped', () => tier.discard('a', 'job.1', { version: null })],
    ['is cleared away with everything', () => tier.clear()],
  ])('is void when its key %s after the read began', async (_, make) => {
    const generation = coherence.generationOf('a');
    make();
    expect(coherence.isCurrent('a', generation)).toBe(false);
    expect(await coherence.fill(entryOf('a', '1'), generation)).toBe(false);
    expect(await tier.get('a')).toBeUndefined();
  });

  it('of many at once is kept for each, though two of them share a counter', async () => {
    const keys = Array.from({ length: 1_000 }, (_, index) => `product_info_${index}`);
    const fills = keys.map((key) => ({ entry: entryOf(key, '1'), generation: coherence.generationOf(key) }));
    expect(new Set(fills.map(({ entry }) => slotOf(entry.key, 65_536))).size).toBeLessThan(keys.length);
    expect(await coherence.fillMany(fills)).toEqual(keys.map(() => true));
    expect(await tier.getMany(keys)).not.toContain(undefined);
    expect(keys.every((key, index) => !coherence.isCurrent(key, fills[index]?.generation ?? -1))).toBe(true);
  });

  it('is taken out again when its key changes while it is on its way into the tier', async () => {
    const filling = coherence.fill(entryOf('a', '1'), coherence.generationOf('a'));
    tier.evict('a', null);
    expect(await filling).toBe(false);
    expect(await tier.get('a')).toBeUndefined();
  });
});
