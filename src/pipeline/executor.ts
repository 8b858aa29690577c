import { backoffMs } from '../core/backoff.ts';
import { type CachewrightError, fail } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { RetryRule } from '../core/service.ts';
import type { Step } from '../core/trail.ts';
import type { Chart } from '../../machines/compile.ts';
import type { EffectOutcome, Effects } from './effect.ts';
import { createEffectCalls, type EffectCalls } from './effect-calls.ts';
import { groupRuns } from './group-runs.ts';
import { createSupersession, type Supersession } from './supersede.ts';

export interface ExecutorOptions {
  readonly chart: Chart;
  readonly effects: Effects;
  readonly clock: Clock;
  readonly log: Log;
  /** Groups are cut at this many runs … */
  readonly maxGroupRuns: number;
  /** … and at about this many bytes of message and record text. */
  readonly maxGroupBytes: number;
  /** How long one call of an effect may take, milliseconds; its signal fires then. */
  readonly effectTimeoutMs: number;
  /** For runs that fail before their service is known. */
  readonly defaultRetry: RetryRule;
}

/** Moves the runs of one execution through the chart until each is final or waits for a later execution. */
export interface Executor {
  /** @throws nothing for the fault of a run; rejects with E_ABORTED when the signal fires */
  execute(runs: Run[], signal: AbortSignal, hooks?: Partial<ExecutorHooks>): Promise<void>;
}

export interface ExecutorHooks {
  /** A group in a state of this name begins its effect. */
  readonly onState: (state: string) => void;
  /** A group waits for something that is no tier of ours: a source, or a schema of a user's. */
  readonly onWaiting: () => void;
}

export function createExecutor(options: ExecutorOptions): Executor {
  return {
    execute: (runs, signal, hooks) => new Pass(options, runs, signal, { ...DEAF, ...hooks }).run(),
  };
}

const NONE: readonly Run[] = [];
const DEAF: ExecutorHooks = { onState: () => undefined, onWaiting: () => undefined };
/** Effects that are done within milliseconds, or not at all. */
const TIER_EFFECTS: ReadonlySet<string> = new Set(['storeLocal', 'storeRedis', 'evict']);

/** One execution's walk. Groups of different effects and services are in flight side by side, so that none waits for a slow source but its own runs. */
class Pass {
  readonly #options: ExecutorOptions;
  readonly #runs: Run[];
  readonly #signal: AbortSignal;
  readonly #hooks: ExecutorHooks;
  readonly #supersession: Supersession;
  readonly #calls: EffectCalls;
  readonly #inFlight = new Set<Promise<void>>();
  /** Runs that may take their next step now. */
  #ready: Run[];

  constructor(options: ExecutorOptions, runs: Run[], signal: AbortSignal, hooks: ExecutorHooks) {
    this.#options = options;
    this.#runs = runs;
    this.#signal = signal;
    this.#hooks = hooks;
    this.#ready = [];
    this.#supersession = createSupersession();
    this.#calls = createEffectCalls({ signal, timeoutMs: options.effectTimeoutMs, log: options.log });
    for (const run of runs) this.#enter(run);
    this.#electLeaders();
  }

  async run(): Promise<void> {
    try {
      await this.#walk();
    } finally {
      this.#calls.close();
    }
  }

  async #walk(): Promise<void> {
    for (;;) {
      this.#launch();
      if (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
      if (this.#signal.aborted) {
        await Promise.allSettled(this.#inFlight);
        throw fail('E_ABORTED', { reason: String(this.#signal.reason) });
      }
      if (this.#inFlight.size === 0 && this.#ready.length === 0) return;
    }
  }

  #launch(): void {
    while (this.#ready.length > 0) {
      const ready = this.#ready;
      this.#ready = [];
      for (const group of groupRuns(ready, this.#options)) this.#call(group);
    }
  }

  #call(group: Run[]): void {
    const { chart, effects, clock } = this.#options;
    const first = group[0];
    if (first === undefined) return;
    const { effect: name = '', name: state } = chart.state(first.state);
    this.#hooks.onState(state);
    const step = { state, effect: name, atMs: clock.now(), durationMs: 0, size: group.length };
    const effect = effects[name];
    if (effect === undefined) {
      this.#settle(
        group,
        step,
        group.map(() => fail('E_EVENT_UNKNOWN', { state, event: `effect ${name}` })),
      );
      return;
    }
    const called = this.#calls.call(effect, name, group);
    if (!(called instanceof Promise)) {
      this.#settle(group, step, called);
      return;
    }
    if (!TIER_EFFECTS.has(name)) this.#hooks.onWaiting();
    const done = called.then((outcomes) => {
      this.#inFlight.delete(done);
      this.#settle(group, step, outcomes);
    });
    this.#inFlight.add(done);
  }

  /** Gives every run of a group its outcome. */
  #settle(group: Run[], step: Step & { durationMs: number }, outcomes: readonly EffectOutcome[]): void {
    step.durationMs = this.#options.clock.now() - step.atMs;
    if (this.#signal.aborted) return;
    if (outcomes.length !== group.length) {
      const error = fail('E_OUTCOMES_MISSING', {
        effect: step.effect,
        got: outcomes.length,
        runs: group.length,
      });
      this.#options.log.error({ effect: step.effect, code: error.code }, error.message);
      for (const run of group) this.#fail(run, step, error);
    } else {
      for (let i = 0; i < group.length; i += 1) {
        const run = group[i];
        const outcome = outcomes[i];
        if (run === undefined || outcome === undefined) continue;
        if (typeof outcome === 'string') this.#advance(run, step, outcome);
        else this.#fail(run, step, outcome);
      }
    }
    this.#electLeaders();
  }

  #advance(run: Run, step: Step, event: string): void {
    const { chart, log } = this.#options;
    const next = chart.next(run.state, event);
    if (next === undefined) {
      const error = fail('E_EVENT_UNKNOWN', { state: run.state, event });
      log.error({ message: run.id, code: error.code }, error.message);
      this.#fail(run, step, error);
      return;
    }
    run.trail = run.trail.after(step, event, next);
    run.state = next;
    const { siblings } = run;
    if (siblings.length > 0) {
      run.siblings = NONE;
      for (const sibling of siblings) {
        sibling.trail = run.trail;
        sibling.state = next;
        this.#runs.push(sibling);
        this.#enter(sibling);
      }
    }
    this.#enter(run);
  }

  /** A run is in a new state: it has ended, stands for election, or may go on at once. */
  #enter(run: Run): void {
    const { final, effect } = this.#options.chart.state(run.state);
    if (final) this.#supersession.ended(run, (loser, winner) => this.#lose(loser, winner));
    else if (effect === 'fetch') this.#supersession.enter(run);
    else this.#ready.push(run);
  }

  #fail(run: Run, step: Step, error: CachewrightError): void {
    const { clock, defaultRetry } = this.#options;
    run.error = error;
    switch (error.outcome) {
      case 'reject':
      case 'refuse':
        this.#advance(run, step, 'rejected');
        return;
      case 'defect':
        this.#advance(run, step, 'exhausted');
        return;
      case 'wait':
      case 'retry':
      case 'unreachable': {
        const retry = run.change?.service.retry ?? defaultRetry;
        if (run.sinceMs === 0) run.sinceMs = clock.now();
        if (error.outcome === 'wait') {
          this.#wait(
            run,
            step,
            error,
            Number(error.details['retryAfterMs'] ?? retry.backoff.initialMs),
            true,
          );
          return;
        }
        run.attempts += 1;
        if (run.attempts >= retry.attempts) this.#advance(run, step, 'exhausted');
        else this.#wait(run, step, error, backoffMs(retry.backoff, run.attempts, clock.random()), false);
      }
    }
  }

  /** Leaves the run for a later execution, at the state its chart resumes waits in. */
  #wait(run: Run, step: Step, error: CachewrightError, waitMs: number, free: boolean): void {
    const { chart, clock } = this.#options;
    const { horizonMs } = run.change?.service.retry ?? this.#options.defaultRetry;
    if (clock.now() - run.sinceMs > horizonMs) {
      const since = new Date(run.sinceMs).toISOString();
      run.error = fail(
        'E_WAITED_TOO_LONG',
        { service: run.change?.service.id ?? 'an unknown service', since, horizonMs },
        { cause: error },
      );
      this.#advance(run, step, 'exhausted');
      return;
    }
    const resumesAt = chart.state(run.state).resumesAt;
    run.trail = run.trail.after(step, free ? 'waits' : 'failed', resumesAt);
    run.state = resumesAt;
    run.dueMs = clock.now() + Math.max(1, waitMs);
    run.waitsFree = free;
    this.#supersession.waits(run);
  }

  #lose(loser: Run, winner: string): void {
    const step = {
      state: loser.state,
      effect: 'fetch',
      atMs: this.#options.clock.now(),
      durationMs: 0,
      size: 1,
    };
    loser.supersededBy = winner;
    this.#advance(loser, step, 'superseded');
  }

  /** Latest wins: once every run of the chunk is parsed, the newest of each key goes on and the others wait for its end. */
  #electLeaders(): void {
    const { chart } = this.#options;
    const unparsed = this.#runs.some((run) => run.state === chart.initial && run.dueMs === 0);
    if (!unparsed) this.#ready.push(...this.#supersession.elect());
  }
}
