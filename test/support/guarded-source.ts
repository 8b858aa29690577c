import { expect } from 'vitest';
import type { Span } from './calls.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createMemoryRecords, type MemoryRecords } from '../../src/adapters/memory-records.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';
import type { FetchOutcome, RecordSource } from '../../src/core/ports.ts';

export const guardLimits: GuardOptions = {
  service: 'shops',
  timeoutMs: 1_000,
  effectTimeoutMs: 10_000,
  concurrency: 8,
  perSecond: undefined,
  breaker: { failures: 3, halfOpenAfterMs: 100 },
  maxAbsentRatio: 0.5,
  clock: systemClock(),
};

/** A guarded fake, and a way to ask it for one id. */
export function guarded(options: Partial<GuardOptions> = {}): {
  memory: MemoryRecords;
  source: RecordSource;
  ask: (id?: string, signal?: AbortSignal) => Promise<FetchOutcome>;
} {
  let memory = createMemoryRecords();
  const source = guardSource(({ gate }) => (memory = createMemoryRecords({ gate })), {
    ...guardLimits,
    ...options,
  });
  memory.put('1', { id: '1' });
  const ask = async (id = '1', signal = new AbortController().signal): Promise<FetchOutcome> =>
    (await source.fetchMany([{ id }], signal))[0] ?? { kind: 'absent' };
  return { memory, source, ask };
}

/** A guarded source whose calls are timed; each takes `callMs(index)`. */
export function timed(options: Partial<GuardOptions>, callMs: (index: number) => number) {
  const spans: Span[] = [];
  const source = guardSource(
    ({ gate }) => ({
      fetchMany: (requests, signal) =>
        gate.run(signal, async () => {
          const span = { fromMs: performance.now(), untilMs: Number.POSITIVE_INFINITY };
          spans.push(span);
          await new Promise((resolve) => setTimeout(resolve, callMs(spans.length)));
          span.untilMs = performance.now();
          return requests.map(() => ({ kind: 'absent' }) as const);
        }),
      close: async () => undefined,
    }),
    { ...guardLimits, ...options },
  );
  const askTimes = (times: number): Promise<FetchOutcome[][]> =>
    Promise.all(
      Array.from({ length: times }, () => source.fetchMany([{ id: '1' }], new AbortController().signal)),
    );
  return { spans, askTimes };
}

export const codeOf = (outcome: FetchOutcome | undefined): string =>
  outcome?.kind === 'failed' ? outcome.error.code : String(outcome?.kind);
export const retryAfterMs = (outcome: FetchOutcome): number =>
  outcome.kind === 'failed' ? Number(outcome.error.details['retryAfterMs']) : Number.NaN;
export const outage = fail('E_FETCH_FAILED', {
  service: 'shops',
  reason: 'connection refused',
  outage: true,
});

/** Asks until it is so; the breaker's and the limiter's time is real here. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { timeout: 5_000, interval: 5 }).toBe(true);
}
