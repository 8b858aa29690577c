import { type CallGate, type CallGateOptions, createCallGate } from './call-gate.ts';
import { asError, fail } from '../core/errors.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

export interface GuardOptions extends Omit<CallGateOptions, 'maxWaitMs'> {
  /**
   * The longest a call may wait for its turn, milliseconds; then its runs wait outside (`E_SOURCE_BUSY`). A fetch takes
   * at most about two waits and two calls (a batch, then ids singly): keep that below the effect's own timeout.
   *
   * @defaultValue 2_000
   */
  readonly maxWaitMs?: number | undefined;
  /** When more than this share of a batch is gone at once nothing is taken as gone; 1 turns it off. @defaultValue 0.5 */
  readonly maxAbsentRatio?: number | undefined;
  /** … of a batch of at least this many answers. @defaultValue 20 */
  readonly minAbsentIds?: number | undefined;
}

/**
 * A source behind its limits, its timeout and its circuit breaker. They hold for calls, not for ids, so the adapter is
 * made here, with the gate that every call of it goes through.
 *
 * All limits are per process: a fleet of ten asks ten times as much.
 */
export function guardSource(make: (gate: CallGate) => RecordSource, options: GuardOptions): RecordSource {
  const source = make(createCallGate({ ...options, maxWaitMs: options.maxWaitMs ?? 2_000 }));
  return {
    async fetchMany(requests, signal) {
      try {
        return withoutSuspiciousAbsence(await source.fetchMany(requests, signal), options);
      } catch (thrown) {
        const error = asError(thrown);
        return requests.map(() => ({ kind: 'failed', error }));
      }
    },
    close: () => source.close(),
  };
}

/** A source that lost most of its records is more likely broken than empty. What it has is taken all the same. */
function withoutSuspiciousAbsence(
  outcomes: FetchOutcome[],
  { service, maxAbsentRatio = 0.5, minAbsentIds = 20 }: GuardOptions,
): FetchOutcome[] {
  const absent = outcomes.filter(({ kind }) => kind === 'absent').length;
  if (absent === 0) return outcomes;
  // Ids that failed, or waited for their turn, say nothing either way.
  const asked = outcomes.filter(({ kind }) => kind !== 'failed').length;
  if (asked < minAbsentIds || absent <= asked * maxAbsentRatio) return outcomes;
  const error = fail('E_SUSPICIOUS_ABSENCE', { service, absent, asked });
  return outcomes.map((outcome) => (outcome.kind === 'absent' ? { kind: 'failed', error } : outcome));
}
