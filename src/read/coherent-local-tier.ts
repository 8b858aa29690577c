import type { LocalTier } from '../core/ports.ts';
import type { Generations } from './generations.ts';

/**
 * A local tier whose changes void the fills that began before them. Its own instance's writes come by here, which is why
 * the follower of the invalidation log may pass their entries over.
 */
export function createCoherentLocalTier(tier: LocalTier, generations: Generations): LocalTier {
  return {
    ...tier,
    promote(entries, token) {
      tier.promote(entries, token);
      for (const { key } of entries) generations.bump(key);
    },
    discard(key, token, readable) {
      tier.discard(key, token, readable);
      if (readable !== undefined) generations.bump(key);
    },
    evict(key, version) {
      tier.evict(key, version);
      generations.bump(key);
    },
    clear() {
      tier.clear();
      generations.bumpAll();
    },
  };
}
