import { expect, it } from 'vitest';
import { describeWith } from '../support/needs.ts';
import { sharedKafka } from '../support/servers/shared.ts';
import { faultNamed } from './faults/index.ts';
import { runChaos, verdictOf } from './run.ts';

/** Fixed, so that load and choices are the same everywhere; `npm run chaos` takes any. */
const SEED = 20_261_126;
/** A run takes a quarter of a minute; on a busy machine it may wait for rest for two. */
const TEST_MS = 300_000;

describeWith(['redis', 'kafka'], 'the short pass of the chaos suite', () => {
  it.each(['kill-before-mark', 'kill-evicting', 'redis-rollback'])(
    'brings 1,000 messages to their end, nothing lost and nothing stale, through: %s',
    async (name) => {
      const fault = faultNamed(name);
      expect(fault).toBeDefined();
      const report = await runChaos({
        seed: SEED,
        fault,
        kafka: await sharedKafka(),
        shape: { messages: 1_000 },
      });
      expect(verdictOf(report)).toBe('');
      expect(report.messages).toBeGreaterThanOrEqual(1_000);
    },
    TEST_MS,
  );
});
