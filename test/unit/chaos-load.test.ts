import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FAULTS } from '../chaos/faults/index.ts';
import { FULL_LOAD, planLoad } from '../chaos/load.ts';
import { reportTable, type RunFigures } from '../chaos/report.ts';
import { INVARIANTS } from '../reliability/invariants.ts';

describe('the load of the chaos suite', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(planLoad(7, FULL_LOAD)).toEqual(planLoad(7, FULL_LOAD));
    expect(planLoad(8, FULL_LOAD)).not.toEqual(planLoad(7, FULL_LOAD));
  });

  it('has more than a thousand messages over 50 keys, with deletes, duplicates, late and broken ones', () => {
    const messages = planLoad(1, FULL_LOAD).batches.flat();
    const kinds = Map.groupBy(messages, ({ kind }) => kind);
    expect(messages.length).toBeGreaterThanOrEqual(1_000);
    expect(new Set(messages.map(({ key }) => key).filter(Boolean)).size).toBe(50);
    expect([...kinds.keys()].sort()).toEqual(['broken', 'delete', 'duplicate', 'late', 'update']);
    for (const kind of ['delete', 'duplicate', 'late'] as const)
      expect(kinds.get(kind)?.length).toBeGreaterThan(50);
  });

  it.each([1, 2, 3])(
    'knows what has to be served in the end: the change of the highest version (seed %i)',
    (seed) => {
      const { batches, keys } = planLoad(seed, FULL_LOAD);
      const byKey = Map.groupBy(batches.flat(), ({ key }) => key);
      for (const { key, version, text } of keys) {
        const newest = (byKey.get(key) ?? []).filter((message) => message.version >= version);
        expect(new Set(newest.map((message) => message.version))).toEqual(new Set([version]));
        expect(newest.every(({ op }) => (op === 'delete') === (text === null))).toBe(true);
      }
    },
  );

  it('gives no two changes of a key the same version, so that every key has one right end', () => {
    const changes = planLoad(1, FULL_LOAD)
      .batches.flat()
      .filter(({ kind }) => kind !== 'duplicate' && kind !== 'broken');
    expect(new Set(changes.map(({ key, version }) => `${key} ${version}`)).size).toBe(changes.length);
  });
});

describe('docs/reliability.md', () => {
  it('tells of every fault of the suite, and of no other', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/reliability.md'), 'utf8');
    const table = page.slice(page.indexOf('### Faults'), page.indexOf('### Figures'));
    const rows = table.split('\n').filter((line) => line.startsWith('| `'));
    const told = rows.flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`([a-z-]+)`/g)]);
    const names = told.map(([, name = '']) => name).filter((name) => name !== 'faketime');
    expect(names.sort()).toEqual(FAULTS.map(({ name }) => name).sort());
  });
});

describe('the report of the chaos suite', () => {
  const run = (more: Partial<RunFigures>): RunFigures => ({
    seed: 1,
    fault: FAULTS[0]?.name ?? '',
    messages: 1_200,
    violations: [],
    recoveryMs: 1_000,
    isConverged: true,
    ...more,
  });

  it('has a row per fault that was run: runs, what was lost or went down, recovery, seeds', () => {
    const broken = [INVARIANTS.final, INVARIANTS.monotonic, INVARIANTS.monotonic, INVARIANTS.bounded];
    const violations = broken.map((invariant) => ({ invariant }));
    const table = reportTable([
      run({ seed: 3, recoveryMs: 4_000 }),
      run({ seed: 4, recoveryMs: 2_000, isConverged: false, violations }),
    ]);
    expect(table.split('\n').slice(2)).toEqual([
      `| ${FAULTS[0]?.name} | 2 | 2400 | 1 | 2 | 1 | 1/2 | 2.0 | 4.0 | ≤ 10 | 3, 4 |`,
    ]);
  });
});
