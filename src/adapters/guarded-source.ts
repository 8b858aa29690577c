import { type CallGate, type CallGateOptions, createCallGate } from './call-gate.ts';
import { refuseSuspiciousAbsence } from './suspicious-absence.ts';
import { asError } from '../core/errors.ts';
import type { RecordSource } from '../core/ports.ts';

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
}

/**
 * A source behind its limits, its timeout and its circuit breaker. They hold for calls, not for ids, so the adapter is
 * made here, with the gate that every call of it goes through.
 *
 * All limits are per process: a fleet of ten asks ten times as much.
 */
export function guardSource(make: (gate: CallGate) => RecordSource, options: GuardOptions): RecordSource {
  const { service, maxWaitMs = 2_000, maxAbsentRatio = 0.5 } = options;
  const made = make(createCallGate({ ...options, maxWaitMs }));
  const source = refuseSuspiciousAbsence(made, service, maxAbsentRatio);
  return {
    async fetchMany(requests, signal) {
      try {
        return await source.fetchMany(requests, signal);
      } catch (thrown) {
        const error = asError(thrown);
        return requests.map(() => ({ kind: 'failed', error }));
      }
    },
    close: () => source.close(),
  };
}
