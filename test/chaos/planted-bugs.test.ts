import { expect, it } from 'vitest';
import { INVARIANTS } from '../reliability/invariants.ts';
import { describeWith } from '../support/needs.ts';
import { sharedKafka } from '../support/servers/shared.ts';
import { faultNamed } from './faults/index.ts';
import type { Plant } from './plants.ts';
import { runChaos, verdictOf } from './run.ts';

const SEED = 20_261_126;

/** Which promise each bug breaks, and the fault it needs to show, if any. */
const CASES: readonly {
  readonly plant: Plant;
  readonly what: string;
  readonly fault: string | undefined;
  readonly breaks: keyof typeof INVARIANTS;
}[] = [
  { plant: 'fence-off', what: 'the fence is off', fault: undefined, breaks: 'newest' },
  {
    plant: 'commit-before-enqueue',
    what: 'an offset is committed before its messages are in the queue',
    fault: 'kill-before-commit',
    breaks: 'final',
  },
  { plant: 'tombstone-dropped', what: 'a delete leaves no tombstone', fault: undefined, breaks: 'newest' },
  { plant: 'audit-row-lost', what: 'a closing loses an audit row', fault: undefined, breaks: 'final' },
];

describeWith(['redis', 'kafka'], 'a bug that is planted on purpose', () => {
  it.each(CASES)('is found by the chaos suite when $what', async ({ plant, fault, breaks }) => {
    const report = await runChaos({
      seed: SEED,
      fault: fault === undefined ? undefined : faultNamed(fault),
      kafka: await sharedKafka(),
      plant,
      shape: { messages: 400 },
      // It never comes to rest; after a death the messages that are not lost need a moment to end.
      settleMs: fault === undefined ? 3_000 : 10_000,
    });
    const broken = new Set(report.violations.map(({ invariant }) => invariant));
    expect([...broken]).toContain(INVARIANTS[breaks]);
    expect([...broken]).not.toContain(INVARIANTS.fired);
    expect(verdictOf(report)).toContain(`--seed ${SEED}`);
  });
});
