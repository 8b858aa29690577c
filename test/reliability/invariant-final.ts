import type { AuditRecord } from '../../src/core/trail.ts';
import { productionChart } from '../../src/testing/paths.ts';
import type { Finding } from './finding.ts';
import type { Acknowledged, History } from './history.ts';

const FINAL: ReadonlySet<string> = new Set(
  [...productionChart().states.values()].filter(({ final }) => final).map(({ name }) => name),
);
const DEAD: ReadonlySet<string> = new Set(['rejected', 'gaveUp']);

export interface Ends {
  /** Ended `rejected` or `gaveUp`, in all its final records: its work need not be done. */
  isDead(acknowledged: Acknowledged): boolean;
  finals(acknowledged: Acknowledged): readonly AuditRecord[];
}

/** How every message ended. */
export function endsOf({ audit }: Pick<History, 'audit'>): Ends {
  const byMessage = Map.groupBy(
    audit.filter(({ state, dueMs }) => dueMs === 0 && FINAL.has(state)),
    ({ message }) => message,
  );
  const finals = ({ message, epoch }: Acknowledged): readonly AuditRecord[] =>
    (byMessage.get(message) ?? []).filter((record) => epoch === undefined || record.epoch === epoch);
  return {
    finals,
    isDead: (acknowledged) => {
      const all = finals(acknowledged);
      return all.length > 0 && all.every(({ state }) => DEAD.has(state));
    },
  };
}

/** Invariant 1: each acknowledged message has a final record; a dead one lies in the dead letters. */
export function messagesAreFinal(history: History): Finding[] {
  const ends = endsOf(history);
  const dead = history.deadLetters === undefined ? undefined : new Set(history.deadLetters);
  const findings: Finding[] = [];
  for (const acknowledged of history.acknowledged) {
    const { message, key } = acknowledged;
    if (ends.finals(acknowledged).length === 0) {
      findings.push({ what: `${message} (${key}) was acknowledged and has no final record`, message });
    } else if (dead !== undefined && ends.isDead(acknowledged) && !dead.has(message)) {
      findings.push({ what: `${message} (${key}) died and is not among the dead letters`, message });
    }
  }
  return findings;
}

/**
 * The audit's part of invariant 1: one record per message and execution, and one for every failed attempt. A message that
 * failed n times over the executions of a job (and of those it was split from) has records that count from 1 to n.
 */
export function trailsAreWhole({ audit }: History): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<string>();
  const counted = new Map<string, Set<number>>();
  const highest = new Map<string, AuditRecord>();
  for (const record of audit) {
    const { message, epoch, redrive, job, execution, attempts, state, startedMs } = record;
    const name = JSON.stringify([message, epoch, redrive, job, execution, startedMs]);
    if (seen.has(name))
      findings.push({ what: `${message} has two records of execution ${execution} of job ${job}`, message });
    seen.add(name);
    if (state === 'lost') continue;
    const lineage = JSON.stringify([message, epoch, redrive, job.replace(/(?:\.[ab])+$/, '')]);
    const counts = counted.get(lineage) ?? new Set<number>();
    counted.set(lineage, counts.add(attempts));
    if (attempts >= (highest.get(lineage)?.attempts ?? 0)) highest.set(lineage, record);
  }
  for (const [lineage, { attempts, message, job }] of highest) {
    const counts = counted.get(lineage);
    for (let count = 1; count < attempts; count += 1) {
      if (counts?.has(count) === true) continue;
      const what = `${message} failed ${attempts} times in job ${job}, and there is no record of failure ${count}`;
      findings.push({ what, message });
      break;
    }
  }
  return findings;
}
