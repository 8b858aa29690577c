import { type CallGate, type CallGateOptions, createCallGate } from './call-gate.ts';
import { refuseSuspiciousAbsence } from './suspicious-absence.ts';
import { asError } from '../core/errors.ts';
import type { RecordSource } from '../core/ports.ts';

export interface GuardOptions extends Omit<CallGateOptions, 'maxWaitMs'> {
  /** How long the effect that fetches may run, milliseconds. A fetch ends within it, and so does each of its calls. */
  readonly effectTimeoutMs: number;
  /** When more than this share of a batch is gone at once nothing is taken as gone; 1 turns it off. */
  readonly maxAbsentRatio: number;
}

/** What an adapter behind the guard is made with. */
export interface Guarded {
  readonly service: string;
  /** What every one of its calls goes through. */
  readonly gate: CallGate;
  /** The gate's own: how long one call may take, milliseconds. */
  readonly timeoutMs: number;
  readonly maxConnections: number;
}

/**
 * Shares of the effect's time: the longest wait for a turn (longer, and its runs wait outside, `E_SOURCE_BUSY`), the
 * longest call, and a whole fetch (a batch, then ids singly). A wait and a call end inside the effect, so that a source
 * that hangs is seen as its timeout, which the breaker counts, and not as the effect's; a fetch that takes longer is cut
 * off, and keeps what has come.
 */
const WAIT_SHARE = 0.2;
const CALL_SHARE = 0.7;
const FETCH_SHARE = 0.95;

/**
 * A source behind its limits, its timeout and its circuit breaker. They hold for calls, not for ids, so the adapter is
 * made here, with the gate that every call of it goes through.
 *
 * All limits are per process: a fleet of ten asks ten times as much.
 */
export function guardSource(make: (guarded: Guarded) => RecordSource, options: GuardOptions): RecordSource {
  const { service, effectTimeoutMs, maxAbsentRatio } = options;
  // Whole milliseconds: node refuses fractions.
  const shareOf = (share: number): number => Math.round(effectTimeoutMs * share);
  const timeoutMs = Math.min(options.timeoutMs, shareOf(CALL_SHARE));
  const gate = createCallGate({ ...options, timeoutMs, maxWaitMs: shareOf(WAIT_SHARE) });
  const made = make({ service, gate, timeoutMs, maxConnections: options.concurrency });
  const inTime = cutOffAfter(made, shareOf(FETCH_SHARE));
  const source = refuseSuspiciousAbsence(inTime, service, maxAbsentRatio);
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

/** Stops a fetch that takes too long by its signal: the ids that were answered keep their answers. */
function cutOffAfter(source: RecordSource, limitMs: number): RecordSource {
  return {
    fetchMany(requests, signal) {
      const limit = AbortSignal.timeout(limitMs);
      return source.fetchMany(requests, AbortSignal.any([signal, limit]));
    },
    close: () => source.close(),
  };
}
