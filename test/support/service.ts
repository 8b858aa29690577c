import type { Service } from '../../src/core/service.ts';

/** A compiled inline service with sensible settings; override what a test is about. */
export function aService(overrides: Partial<Service> = {}): Service {
  const id = overrides.id ?? 'productInfoService';
  return {
    id,
    inline: true,
    source: { fetchMany: async () => [], close: async () => undefined },
    keyOf: (recordId) => `${id}_${recordId}`,
    version: {
      from: 'record',
      path: ['version'],
      kind: 'counter',
      missing: 'reject',
      maxAheadMs: 86_400_000,
      timezone: undefined,
    },
    checkMessage: undefined,
    checkRecord: undefined,
    retry: {
      attempts: 5,
      backoff: { initialMs: 100, factor: 2, maxMs: 1_000, jitter: 0 },
      horizonMs: 3_600_000,
    },
    ttlMs: 0,
    ttlJitter: 0.1,
    fenceTtlMs: 0,
    localTtlMs: 60_000,
    read: { fromSource: true, staleWhileRevalidateMs: 0, failSafeMs: 0, keepMs: 0, negativeTtlMs: 5_000 },
    ...overrides,
  };
}
