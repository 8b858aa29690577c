/**
 * The seven invariants that the simulation and the chaos suite check alike: one pure function over a run's history.
 */
import { formatTrail } from '../../src/audit/trail-text.ts';
import { messagesAreFinal, trailsAreWhole } from './invariant-final.ts';
import { acceptedWritesRise, answersAreFresh, versionsNeverFall } from './invariant-order.ts';
import { tiersAreNewest } from './invariant-tiers.ts';
import type { History } from './history.ts';
import type { Finding } from './finding.ts';

export const INVARIANTS = {
  final: '1 every acknowledged message is final, and its trail is whole',
  monotonic: '2 no version goes down as seen by a reader',
  newest: '3 Redis and what each instance serves equal the newest version',
  once: '4 at most one accepted write per key and version while fence and value live',
  offsets: '5 the committed offset is at most the mark plus one',
  bounded: '6 memory and queue are bounded',
  fired: '7 a run counts only if its faults really fired',
} as const;

/** One broken promise, with all that is known about whom it concerns. */
export interface Violation {
  readonly invariant: (typeof INVARIANTS)[keyof typeof INVARIANTS];
  readonly what: string;
  /** '' when it concerns no single key. */
  readonly key: string;
  /** '' when it concerns no single message. */
  readonly message: string;
  /** The audit trail of the message, or of every message of the key; '' when there is none. */
  readonly trail: string;
}

/** Longer trails are cut: what matters is printed, the whole is in the audit. */
const MAX_TRAIL_RECORDS = 60;

/** Every invariant that the history breaks; empty when all hold. */
export function checkInvariants(history: History): Violation[] {
  const found: [keyof typeof INVARIANTS, readonly Finding[]][] = [
    ['final', [...messagesAreFinal(history), ...trailsAreWhole(history)]],
    ['monotonic', [...versionsNeverFall(history), ...answersAreFresh(history)]],
    ['newest', tiersAreNewest(history)],
    ['once', acceptedWritesRise(history)],
    ['offsets', commitsStayBehindMarks(history)],
    ['bounded', levelsAreBounded(history)],
    ['fired', faultsFired(history)],
  ];
  return found.flatMap(([name, findings]) =>
    findings.map(({ what, key = '', message = '' }) => ({
      invariant: INVARIANTS[name],
      what,
      key,
      message,
      trail: trailOf(history, key, message),
    })),
  );
}

/** Violations as text for people, the trails below each. */
export function describeViolations(violations: readonly Violation[]): string {
  return violations
    .map(
      ({ invariant, what, trail }) =>
        `✗ ${invariant}\n  ${what}${trail === '' ? '' : `\n${indented(trail)}`}`,
    )
    .join('\n');
}

function commitsStayBehindMarks({ offsets, repairs }: History): Finding[] {
  return offsets.flatMap(({ group, topic, partition, committed, enqueued, atMs }) => {
    if (committed === null || repairs.some(({ fromMs, toMs }) => atMs >= fromMs && atMs <= toMs)) return [];
    const next = enqueued === null || enqueued === '' ? 0n : BigInt(enqueued) + 1n;
    if (BigInt(committed) <= next) return [];
    const mark =
      enqueued === null ? 'there is no mark' : `the mark is ${enqueued === '' ? 'empty' : enqueued}`;
    return [{ what: `${group} committed ${committed} of ${topic}/${partition} at ${atMs}, but ${mark}` }];
  });
}

function levelsAreBounded({ levels }: History): Finding[] {
  const worst = new Map<string, Finding & { value: number }>();
  for (const { what, value, bound, atMs } of levels) {
    if (value <= bound || value <= (worst.get(what)?.value ?? 0)) continue;
    worst.set(what, { value, what: `${what} rose to ${value} at ${atMs}; its bound is ${bound}` });
  }
  return [...worst.values()];
}

function faultsFired({ faults }: History): Finding[] {
  return faults.flatMap(({ fault, fired }) =>
    fired > 0 ? [] : [{ what: `the fault "${fault}" never happened, so this run proves nothing about it` }],
  );
}

function trailOf({ audit }: History, key: string, message: string): string {
  if (key === '' && message === '') return '';
  const records = audit.filter((record) => record.message === message || (key !== '' && record.key === key));
  const shown = records.slice(-MAX_TRAIL_RECORDS);
  const cut =
    records.length > shown.length ? `(${records.length - shown.length} earlier records left out)\n` : '';
  return cut + formatTrail(shown);
}

function indented(text: string): string {
  return text.replace(/^/gm, '    ');
}
