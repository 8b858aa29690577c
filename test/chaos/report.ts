import { readFileSync } from 'node:fs';
import { INVARIANTS } from '../reliability/invariants.ts';
import { FAULTS } from './faults/index.ts';

/** What the table needs of a run. */
export interface RunFigures {
  readonly seed: number;
  readonly fault: string;
  readonly messages: number;
  readonly violations: readonly { readonly invariant: string }[];
  readonly recoveryMs: number;
  readonly isConverged: boolean;
}

/** Runs that `--json` wrote down. */
export function readReports(files: readonly string[]): RunFigures[] {
  return files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RunFigures),
  );
}

/** A Markdown table with a row per fault, in the order of the suite. */
export function reportTable(runs: readonly RunFigures[]): string {
  const rows = FAULTS.flatMap(({ name, goalMs }) => {
    const own = runs.filter(({ fault }) => fault === name);
    if (own.length === 0) return [];
    const recoveries = own.map(({ recoveryMs }) => recoveryMs).sort((a, b) => a - b);
    const cells = [
      name,
      own.length,
      sum(own.map(({ messages }) => messages)),
      ...brokenOf(own),
      `${own.filter(({ isConverged }) => isConverged).length}/${own.length}`,
      seconds(quantile(recoveries, 0.5)),
      seconds(quantile(recoveries, 0.99)),
      `≤ ${goalMs / 1_000}`,
      own.map(({ seed }) => seed).join(', '),
    ];
    return [`| ${cells.join(' | ')} |`];
  });
  return [
    '| fault | runs | messages | lost | regressions | other | converged | recovery p50, s | p99, s | goal, s | seeds |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

/** Broken promises: messages lost, versions that went down, and all others. */
function brokenOf(runs: readonly RunFigures[]): readonly number[] {
  const broken = runs.flatMap(({ violations }) => violations.map(({ invariant }) => invariant));
  const lost = broken.filter((invariant) => invariant === INVARIANTS.final).length;
  const fallen = broken.filter((invariant) => invariant === INVARIANTS.monotonic).length;
  return [lost, fallen, broken.length - lost - fallen];
}

/** The value that this share of all lie at or below. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
