import { fail } from '../core/errors.ts';
import type { FetchOutcome } from '../core/ports.ts';

/** One item of an answer to many ids. */
export interface AnsweredItem {
  /** Undefined when the item names none. */
  readonly id: string | undefined;
  readonly outcome: FetchOutcome;
}

export interface Joined {
  /** What was asked for and came; other items are left out. */
  readonly outcomes: Map<string, FetchOutcome>;
  /**
   * True when every item was asked for. Otherwise the answer proves nothing about an id that is missing from it: the
   * item may be there under another spelling (`007` and `7`, an upper-case UUID), or without its id.
   */
  readonly isExact: boolean;
}

/** Joins an answer to what was asked, by id, never by position. An id that comes twice has to come with the same record. */
export function joinById(service: string, asked: readonly string[], items: Iterable<AnsweredItem>): Joined {
  const wanted = new Set(asked);
  const outcomes = new Map<string, FetchOutcome>();
  let isExact = true;
  for (const { id, outcome } of items) {
    if (id === undefined || !wanted.has(id)) {
      isExact = false;
      continue;
    }
    const other = outcomes.get(id);
    if (other === undefined || isSame(other, outcome)) outcomes.set(id, outcome);
    else outcomes.set(id, failedRecord(service, id, 'it comes twice, with different content'));
  }
  return { outcomes, isExact };
}

export function failedRecord(service: string, id: string, issues: string): FetchOutcome {
  return { kind: 'failed', error: fail('E_RECORD_INVALID', { service, id, issues }) };
}

function isSame(a: FetchOutcome, b: FetchOutcome): boolean {
  return a.kind === 'record' && b.kind === 'record' && a.text === b.text && a.version === b.version;
}
