import { fail } from '../core/errors.ts';
import type { DeadLetter, Execution } from '../core/ports.ts';
import type { Run } from '../core/run.ts';

/** Bumped when the layout of {@link DeadLetter} changes. */
export const DEAD_LETTER_FORMAT = 1;

/** The letter of a run that ended `rejected` or `gaveUp`: the original bytes, and why. */
export function deadLetterOf(execution: Execution, run: Run, nowMs: number): DeadLetter {
  const error = run.error ?? fail('E_UNEXPECTED', { what: `${run.id} died without an error` });
  return {
    format: DEAD_LETTER_FORMAT,
    message: run.id,
    origin: run.message.origin,
    redrive: execution.data.redrive,
    timestampMs: run.message.timestampMs,
    key: run.message.key,
    value: run.message.value,
    headers: run.message.headers,
    service: run.change?.service.id ?? '',
    recordId: run.change?.id ?? '',
    cacheKey: run.change?.key ?? '',
    state: run.state,
    error: { code: error.code, message: error.message, next: error.next },
    attempts: run.attempts,
    firstFailedMs: run.sinceMs === 0 ? nowMs : run.sinceMs,
    diedMs: nowMs,
    job: execution.job,
    execution: execution.execution,
  };
}
