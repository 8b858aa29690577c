import { fail } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

/** Fewer answers than this say nothing about the source. */
const MIN_IDS = 20;

/**
 * Keeps a broken source from emptying the cache: when more than `maxAbsentRatio` of what a fetch was answered is gone at
 * once, the absent ones fail (`E_SUSPICIOUS_ABSENCE`, retried) and nothing is evicted. Ids that failed, or waited for
 * their turn, say nothing either way: counted in, they would let the other half of a dying source through.
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
      const answered = outcomes.filter(({ kind }) => kind !== 'failed').length;
      if (answered < MIN_IDS || absent <= answered * maxAbsentRatio) return outcomes;
      const error = fail('E_SUSPICIOUS_ABSENCE', { service, absent, asked: answered });
      return outcomes.map(
        (outcome): FetchOutcome => (outcome.kind === 'absent' ? { kind: 'failed', error } : outcome),
      );
    },
    close: () => source.close(),
  };
}
