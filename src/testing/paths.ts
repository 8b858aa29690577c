import { getSimplePaths } from 'xstate/graph';
import { changeMessage } from '../../machines/change-message.ts';
import { type Chart, compileChart } from '../../machines/compile.ts';
import { systemClock } from '../core/clock.ts';
import { fail } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';
import { Run } from '../core/run.ts';
import { byOffset, type RetryRule, type Service } from '../core/service.ts';
import { Trail, type TrailStep } from '../core/trail.ts';
import type { EffectOutcome, Effects } from '../pipeline/effect.ts';
import { createExecutor, type Executor } from '../pipeline/executor.ts';

/** One way through the chart: the events in order, and the state each leads to. */
export interface ChartPath {
  readonly steps: readonly { readonly from: string; readonly event: string; readonly to: string }[];
  readonly end: string;
}

/** A log that says nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** The chart that production runs. */
export function productionChart(): Chart {
  return compileChart(changeMessage);
}

/** Every simple path of the chart from its first state to a final one, as `xstate/graph` finds them. */
export function chartPaths(): ChartPath[] {
  const chart = productionChart();
  const events = chart.events.map((type) => ({ type }));
  return getSimplePaths(changeMessage, { events })
    .filter(({ state }) => state.status === 'done')
    .map(({ steps }) => {
      const taken = steps.map((step) => step.event.type).filter((type) => type !== 'xstate.init');
      let from = chart.initial;
      const walked = taken.map((event) => {
        const to = chart.next(from, event) ?? from;
        const step = { from, event, to };
        from = to;
        return step;
      });
      return { steps: walked, end: from };
    });
}

/**
 * Walks one path through the *real executor*: its effects answer with the path's events.
 *
 * @returns the run's recorded steps and the state it ended in
 * @throws E_EVENT_UNKNOWN when the executor left the path
 */
export async function runPath(
  path: ChartPath,
): Promise<{ steps: TrailStep[]; end: string; effects: string[] }> {
  const called: string[] = [];
  const chart = productionChart();
  let at = 0;
  const answer = (name: string): EffectOutcome => {
    called.push(name);
    const step = path.steps[at];
    at += 1;
    if (step === undefined)
      throw fail('E_EVENT_UNKNOWN', { state: path.end, event: `one more call of ${name}` });
    return outcomeFor(step.event);
  };
  const names = [...chart.states.values()].flatMap(({ effect }) => (effect === undefined ? [] : [effect]));
  const effects: Effects = Object.fromEntries(
    names.map((name) => [
      name,
      (runs: readonly Run[]): EffectOutcome[] =>
        runs.map((run) => {
          run.change ??= {
            service: pathService,
            id: '1',
            key: 'path_1',
            op: 'upsert',
            version: undefined,
            record: undefined,
          };
          return answer(name);
        }),
    ]),
  );
  const run = new Run(pathMessage, 0, 0, chart.initial, Trail.root());
  await pathExecutor(chart, effects).execute([run], new AbortController().signal);
  return { steps: run.trail.entries(), end: run.state, effects: called };
}

/** `rejected` and `exhausted` are what the executor makes of errors; effects never return them as events. */
function outcomeFor(event: string): EffectOutcome {
  if (event === 'rejected') return fail('E_MESSAGE_NOT_JSON', { reason: 'the path asks for a rejection' });
  if (event === 'exhausted')
    return fail('E_FETCH_FAILED', { service: 'path', reason: 'the path asks to give up' });
  return event;
}

/** A rule under which the first failure is the last, so that `exhausted` happens at once. */
const oneAttempt: RetryRule = {
  attempts: 1,
  backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 },
  horizonMs: 60_000,
};

function pathExecutor(chart: Chart, effects: Effects): Executor {
  return createExecutor({
    chart,
    effects,
    clock: systemClock(),
    log: silentLog,
    maxGroupRuns: 500,
    maxGroupBytes: 1 << 22,
    effectTimeoutMs: 5_000,
    defaultRetry: oneAttempt,
  });
}

const pathMessage = {
  origin: { stream: 'path-0', epoch: 0, position: '0' },
  timestampMs: 0,
  key: null,
  value: '{}',
  headers: [],
};

const pathService: Service = {
  id: 'path',
  inline: true,
  source: { fetchMany: async () => [], close: async () => undefined },
  keyOf: (id) => `path_${id}`,
  version: byOffset,
  checkMessage: undefined,
  checkRecord: undefined,
  retry: oneAttempt,
  ttlMs: 0,
  ttlJitter: 0,
  fenceTtlMs: 0,
  localTtlMs: 60_000,
  read: { fromSource: false, staleWhileRevalidateMs: 0, failSafeMs: 0, keepMs: 0, negativeTtlMs: 0 },
};
