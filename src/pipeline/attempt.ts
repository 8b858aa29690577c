import type { Chart } from '../../machines/compile.ts';
import { machineName } from '../../machines/snapshot.ts';
import type { ChunkData } from '../core/chunk.ts';
import { fail } from '../core/errors.ts';
import type { Clock, Closing, Execution, ExecutionEnd, ExecutionHandler, Log } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { AuditEntry } from '../core/trail.ts';
import { createTurns, type GiveBack } from '../core/turns.ts';
import { auditEntryOf, lostEntryOf } from './audit-entry.ts';
import { createSuspectGate, halvesOf, judge } from './crash-loop.ts';
import { deadLetterOf, settledBy } from './dead-letter.ts';
import type { Executor } from './executor.ts';
import { createLeaveToNewer, newerThan } from './leave-to-newer.ts';
import type { Parse } from './parse.ts';
import { type Resting, restOf, runsOfChunk } from './runs-of-chunk.ts';

export interface AttemptOptions {
  readonly chart: Chart;
  readonly executor: Executor;
  readonly parse: Parse;
  readonly clock: Clock;
  readonly log: Log;
  /** Told after every closing that took: what the execution did. Must not throw. */
  readonly onClosed: (closed: ClosedExecution) => void;
}

/** An execution that has closed, for logs and events. */
export interface ClosedExecution {
  readonly execution: Execution;
  readonly runs: readonly Run[];
  readonly startedMs: number;
  readonly endedMs: number;
}

/**
 * Executions at once that wait for nothing but this process and its tiers. Few keep the process busy while the others wait
 * for Redis; what more would have in hand is memory, and the collector's work.
 */
const BUSY_AT_ONCE = 3;

/** Of a job that kills its workers no message is read before it is split: reading it may be what kills. */
const readNothing: Parse = () => ({ kind: 'ignored' });

/**
 * One execution of a job, top to bottom: take up its runs, walk them through the chart, close in one step, and tell
 * the queue what is left. Its id binds provisional local entries to it.
 */
export function createAttempt(options: AttemptOptions): ExecutionHandler {
  const { chart, parse, clock, log } = options;
  const oneSuspectAtATime = createSuspectGate();
  const takeTurn = createTurns(BUSY_AT_ONCE);
  const leaveToNewer = createLeaveToNewer(options);

  return async (execution) => {
    const giveBack = await takeTurn();
    try {
      return await attempt(execution, giveBack);
    } finally {
      giveBack();
    }
  };

  async function attempt(execution: Execution, giveBack: GiveBack): Promise<ExecutionEnd> {
    const { data } = execution;
    const newer = newerThan(chart, data);
    if (newer !== undefined) return leaveToNewer(execution, newer);
    if (data.positions.length === 0) return { kind: 'done', summary: null };

    // The first have a gate of their own, and the others may wait for a schema of a user's before they go on.
    if (data.suspect === true || data.waiting !== undefined) giveBack();
    const release = await oneSuspectAtATime(execution);
    try {
      const startedMs = clock.now();
      const verdict = judge(execution);
      const reading = verdict === 'run' ? parse : readNothing;
      const { runs, resting } = await runsOfChunk(data, chart, reading, startedMs);
      if (verdict === 'split') return await splitUp(options, execution, runs);
      if (verdict === 'condemn') condemn(execution, runs);
      else await walk(execution, runs, giveBack);
      return await close(options, execution, runs, resting, startedMs);
    } finally {
      release();
    }
  }

  async function walk(execution: Execution, runs: Run[], onWaiting: () => void): Promise<void> {
    const token = `${execution.job}/${execution.execution}`;
    for (const run of runs) run.token = token;
    try {
      await options.executor.execute(runs, execution.signal, {
        onState: (state) => execution.progress(state),
        onWaiting,
      });
    } catch (thrown) {
      if (!execution.signal.aborted) throw thrown;
      log.warn({ job: execution.job, reason: String(execution.signal.reason) }, 'execution aborted');
      for (const run of runs) handBack(run);
    }
  }

  /** An aborted run goes back to where waits begin; nothing it did counts as a failure. */
  function handBack(run: Run): void {
    const state = chart.state(run.state);
    if (state.final || run.dueMs > 0) return;
    run.state = state.resumesAt;
    run.dueMs = clock.now();
    run.waitsFree = true;
    run.note = 'handed back';
  }

  function condemn(execution: Execution, runs: readonly Run[]): void {
    for (const run of runs) {
      run.error = fail('E_WORKER_KILLED', { executions: execution.begun });
      run.state = chart.next(run.state, 'exhausted') ?? run.state;
    }
  }
}

async function close(
  options: AttemptOptions,
  execution: Execution,
  runs: readonly Run[],
  resting: readonly Resting[],
  startedMs: number,
): Promise<ExecutionEnd> {
  const { chart, clock, onClosed } = options;
  const endedMs = clock.now();
  const waiting = runs.filter((run) => run.dueMs > 0);
  const rest = restOf(execution.data, machineName(chart), waiting, resting);
  const closed = await execution.close({
    rest,
    audit: auditOf(execution, runs, startedMs, endedMs),
    deadLetters: runs
      .filter((run) => run.state === 'rejected' || run.state === 'gaveUp')
      .map((run) => deadLetterOf(execution, run, endedMs)),
    settled: settledBy(execution, runs),
  } satisfies Closing);
  if (closed === 'lost') {
    options.log.warn(
      { job: execution.job, execution: execution.execution },
      'the lock is gone: nothing was closed',
    );
    return { kind: 'handBack' };
  }
  if (closed === 'closed') onClosed({ execution, runs, startedMs, endedMs });
  return endOf(execution, runs, rest, waiting, endedMs - startedMs);
}

/** The execution's own entry, and one for each predecessor that died without closing. */
function auditOf(execution: Execution, runs: readonly Run[], startedMs: number, endedMs: number): string[] {
  const entries = lostEntriesOf(execution, runs, startedMs);
  const told =
    execution.data.waiting === undefined ? runs : runs.filter((run) => !isSameWait(execution.data, run));
  if (told.length > 0) entries.push(auditEntryOf(execution, told, startedMs, endedMs));
  return entries.map((entry) => JSON.stringify(entry));
}

/**
 * A run that waits without fault looks again and again whether it may go on, for an hour if it must. Its first look is on
 * record, and so is its last: those in between found nothing new.
 */
function isSameWait({ waiting }: ChunkData, run: Run): boolean {
  const before = waiting?.[run.place];
  if (before === undefined || run.dueMs === 0 || !run.waitsFree) return false;
  return before.attempts === run.attempts && before.error === (run.error?.code ?? '');
}

function lostEntriesOf(execution: Execution, runs: readonly Run[], nowMs: number): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (let died = execution.lastClosed + 1; died < execution.execution; died += 1) {
    if (!execution.passed.includes(died)) entries.push(lostEntryOf(execution, died, runs, nowMs));
  }
  return entries;
}

function endOf(
  execution: Execution,
  runs: readonly Run[],
  rest: ChunkData | null,
  waiting: readonly Run[],
  durationMs: number,
): ExecutionEnd {
  if (rest === null) return { kind: 'done', summary: summaryOf(execution, runs, durationMs) };
  if (execution.signal.aborted) return { kind: 'handBack' };
  const dueMs = Math.min(...Object.values(rest.waiting ?? {}).map((waits) => waits.dueMs));
  const failed = waiting.find((run) => !run.waitsFree && run.error !== undefined);
  if (failed?.error !== undefined) return { kind: 'retry', dueMs, error: failed.error };
  return { kind: 'wait', dueMs };
}

/** What the queue UI shows of a finished job. */
function summaryOf(execution: Execution, runs: readonly Run[], durationMs: number): object {
  const count = (names: readonly string[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  };
  return {
    chunk: execution.name,
    execution: execution.execution,
    messages: runs.length,
    states: count(runs.map((run) => run.state)),
    services: count(runs.map((run) => run.change?.service.id ?? 'unknown')),
    durationMs: Math.round(durationMs * 10) / 10,
  };
}

/** Hands the messages on in two halves before this job closes empty: one message that kills must not take the others along. */
async function splitUp(
  options: AttemptOptions,
  execution: Execution,
  runs: readonly Run[],
): Promise<ExecutionEnd> {
  const { clock, log } = options;
  const parts = halvesOf(execution);
  log.warn(
    { job: execution.job, parts: parts.map((part) => part.id) },
    'executions of this job died: it is split',
  );
  await execution.split(parts);
  const nowMs = clock.now();
  const closed = await execution.close({
    rest: null,
    audit: lostEntriesOf(execution, runs, nowMs).map((entry) => JSON.stringify(entry)),
    deadLetters: [],
    settled: [],
  });
  if (closed === 'lost') return { kind: 'handBack' };
  return { kind: 'done', summary: { chunk: execution.name, splitInto: parts.map((part) => part.name) } };
}
