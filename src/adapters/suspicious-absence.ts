import { fail } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

/** Fewer ids than this say nothing about the source. */
const MIN_IDS = 20;

/**
 * Keeps a broken source from emptying the cache: when more than `maxAbsentRatio` of a fetch is gone at once, the absent
 * ones fail (`E_SUSPICIOUS_ABSENCE`, retried) and nothing is evicted.
 */
export function refuseSuspiciousAbsence(
  source: RecordSource,
  service: string,
  maxAbsentRatio: number,
): RecordSource {
  return {
    async fetchMany(requests, signal) {
      const outcomes = await source.fetchMany(requests, signal);
      const absent = outcomes.filter(({ kind }) => kind === 'absent').length;
      if (requests.length < MIN_IDS || absent <= requests.length * maxAbsentRatio) return outcomes;
      const error = fail('E_SUSPICIOUS_ABSENCE', { service, absent, asked: requests.length });
      return outcomes.map(
        (outcome): FetchOutcome => (outcome.kind === 'absent' ? { kind: 'failed', error } : outcome),
      );
    },
    close: () => source.close(),
  };
}
