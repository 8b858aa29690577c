import type { Authorship } from '../core/dead-letter.ts';
import type { DeadLetter } from '../core/ports.ts';
import { AUDIT_FORMAT, type AuditEntry, type AuditRow } from '../core/trail.ts';

/**
 * What a person did with letters, for the audit: who, when and why, and what each letter had died of. It is execution 0
 * of the job it begins, so that a trail shows it in front of what came of it.
 *
 * @param letters of one stream and epoch
 * @param redrive the count the action belongs to: the new run's, or a discarded letter's own
 */
export function actionEntryOf(
  action: 'redriven' | 'discarded',
  letters: readonly DeadLetter[],
  options: Authorship & { readonly job: string; readonly redrive: number; readonly nowMs: number },
): AuditEntry {
  const { job, redrive, nowMs, by, reason } = options;
  const services: string[] = [];
  const errors: { code: string; message: string }[] = [];
  const rows = letters.map((letter): AuditRow => {
    const { origin, message, service, recordId, cacheKey, attempts, error } = letter;
    const position = message.slice(origin.stream.length + 1);
    const serviceAt = service === '' ? -1 : placeOf(services, service, (known) => known === service);
    const errorAt = placeOf(
      errors,
      { code: error.code, message: error.message },
      (known) => known.code === error.code && known.message === error.message,
    );
    return [
      position,
      action,
      0,
      serviceAt,
      recordId,
      cacheKey,
      '',
      attempts,
      errorAt,
      '',
      0,
      `${action} by ${by}: ${reason}`,
    ];
  });
  const { stream = '', epoch = 0 } = letters[0]?.origin ?? {};
  return {
    format: AUDIT_FORMAT,
    job,
    execution: 0,
    worker: by,
    stream,
    epoch,
    redrive,
    startedMs: nowMs,
    endedMs: nowMs,
    services,
    trails: [[]],
    errors,
    rows,
  };
}

/** Where a value stands in the list; it is added when it is not there. Neighbours mostly share it. */
function placeOf<Value>(list: Value[], value: Value, isSame: (known: Value) => boolean): number {
  const known = list.findLastIndex(isSame);
  return known === -1 ? list.push(value) - 1 : known;
}
