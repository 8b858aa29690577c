import type { Chart } from '../../machines/compile.ts';
import type { Clock, ExecutionHandler, LocalTier, Log, RedisTier } from '../core/ports.ts';
import type { RetryRule } from '../core/service.ts';
import { type AttemptOptions, createAttempt } from './attempt.ts';
import { createEffects } from './effects.ts';
import { createExecutor } from './executor.ts';
import type { Parse } from './parse.ts';

/** Runs of one call of an effect, and about how many bytes of records. */
const MAX_GROUP_RUNS = 500;
const MAX_GROUP_BYTES = 4 * 1024 ** 2;

/** For runs that fail before their service is known. */
const DEFAULT_RETRY: RetryRule = {
  attempts: 5,
  backoff: { initialMs: 500, factor: 2, maxMs: 60_000, jitter: 0.2 },
  horizonMs: 3_600_000,
};

/** The pipeline as production runs it, put together once for the worker and for the harness of users' tests. */
export function createPipeline(options: {
  readonly chart: Chart;
  readonly parse: Parse;
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly clock: Clock;
  readonly log: Log;
  /** How long one call of an effect may take, milliseconds. */
  readonly effectTimeoutMs: number;
  readonly onClosed: AttemptOptions['onClosed'];
}): ExecutionHandler {
  const executor = createExecutor({
    ...options,
    effects: createEffects(options),
    maxGroupRuns: MAX_GROUP_RUNS,
    maxGroupBytes: MAX_GROUP_BYTES,
    defaultRetry: DEFAULT_RETRY,
  });
  return createAttempt({ ...options, executor });
}
