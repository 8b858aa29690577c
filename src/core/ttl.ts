import type { Service } from './service.ts';

/**
 * The time to live of one value in Redis, milliseconds: shorter than configured by up to the service's jitter, so that
 * what was written together does not expire together. 0: none.
 *
 * @param random in [0, 1)
 */
export function jitteredTtl(
  { ttlMs, ttlJitter }: Pick<Service, 'ttlMs' | 'ttlJitter'>,
  random: number,
): number {
  return ttlMs === 0 ? 0 : Math.max(1, Math.round(ttlMs * (1 - ttlJitter * random)));
}
