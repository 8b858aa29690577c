import type { DeadLetter } from '../../src/core/ports.ts';

/** A letter of a fetch that failed, in the stream `changes-0`. */
export function aLetter(position: number, more: Partial<DeadLetter> = {}): DeadLetter {
  return {
    format: 1,
    message: `changes-0@${position}`,
    origin: { stream: 'changes-0', epoch: 0, position: String(position) },
    redrive: 0,
    timestampMs: 1_000,
    key: null,
    value: '{}',
    headers: [],
    service: 'shopInfoService',
    recordId: String(position),
    cacheKey: `shop_${position}`,
    state: 'gaveUp',
    error: { code: 'E_FETCH_FAILED', message: 'failed', next: 'look' },
    attempts: 3,
    firstFailedMs: 1_000,
    diedMs: 2_000,
    job: 'job',
    execution: 1,
    ...more,
  };
}
