import { decodeFence } from '../core/fence.ts';
import type { Clock, Coherence, LocalEntry, LocalTier, RedisTier } from '../core/ports.ts';
import type { Service } from '../core/service.ts';

/** A record as a reader gets it. */
export interface ReadRecord {
  /** The record's JSON text, byte for byte. */
  readonly text: string;
  /** undefined when Redis knows no fence for it. */
  readonly entry: LocalEntry | undefined;
  readonly tier: 'local' | 'redis';
  /** Since this instance's local tier took it; null from Redis, which does not tell. Milliseconds. */
  readonly ageMs: number | null;
}

export interface Reader {
  /** Local tier, then Redis; what Redis has is kept locally. undefined: neither has it. */
  get(service: Pick<Service, 'keyOf' | 'localTtlMs'>, id: string): Promise<ReadRecord | undefined>;
}

/** The read path of one instance: local → Redis. */
export function createReader(options: {
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly coherence: Coherence;
  readonly clock: Clock;
}): Reader {
  const { localTier, redisTier, coherence, clock } = options;
  return {
    async get(service, id) {
      const key = service.keyOf(id);
      const local = coherence.state() === 'fresh' ? await localTier.get(key) : undefined;
      if (local !== undefined) {
        return { text: local.text, entry: local, tier: 'local', ageMs: clock.now() - local.storedMs };
      }
      const generation = coherence.generationOf(key);
      const [stored] = await redisTier.read([key]);
      if (stored === undefined || stored === null) return undefined;
      const fence = stored.fence === null ? undefined : decodeFence(stored.fence);
      // Without a version there is nothing to compare a later write with: such a value is served, not kept.
      if (fence?.version == null) return { text: stored.text, entry: undefined, tier: 'redis', ageMs: null };
      const entry: LocalEntry = {
        key,
        text: stored.text,
        version: fence.version,
        origin: fence.origin,
        storedMs: clock.now(),
        ttlMs: stored.ttlMs > 0 ? Math.min(service.localTtlMs, stored.ttlMs) : service.localTtlMs,
      };
      await coherence.fill(entry, generation);
      return { text: stored.text, entry, tier: 'redis', ageMs: null };
    },
  };
}
