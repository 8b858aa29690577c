import { EventEmitter } from 'node:events';
import type { Log } from '../core/ports.ts';
import type { TrailStep } from '../core/trail.ts';
import type { ClosedExecution } from '../pipeline/attempt.ts';
import type { JobLog } from './job-log.ts';

/** What happened to one message in one execution. */
export interface MessageEvent {
  readonly message: string;
  readonly service: string;
  readonly id: string;
  readonly key: string;
  /** Final, or the state it waits in. */
  readonly state: string;
  readonly attempts: number;
  readonly supersededBy: string;
  readonly error: { readonly code: string; readonly message: string; readonly next: string } | null;
  /** When it is tried again, epoch milliseconds; 0: it does not wait. */
  readonly dueMs: number;
  readonly steps: readonly TrailStep[];
}

/** The events of an app, by name, with what they carry. */
export interface CachewrightEvents {
  /** An execution closed: how many messages, and the states they are in. */
  chunk: [
    chunk: {
      job: string;
      name: string;
      execution: number;
      messages: number;
      states: Record<string, number>;
      durationMs: number;
    },
  ];
  /** A message has taken its steps in an execution. Computed only while somebody listens. */
  message: [event: MessageEvent];
  /** A message went to the dead letters. */
  dead: [event: MessageEvent];
  /** Ingest: what a partition did (`resumed`, `newEpoch`, `paused` …). */
  ingest: [event: { stream: string; what: string; detail: string }];
  /**
   * A cache's Redis of its own: it was found `behind`, `restarted` (what came after the last beat may be lost) or `empty`;
   * `repaired`: all that it may have lost is in the queue once more.
   */
  cache: [event: { what: 'behind' | 'restarted' | 'empty' | 'repaired'; detail: string }];
  /** Something is wrong around this process that may come to cost messages or answers; told once while it lasts. */
  alert: [alert: { what: string; text: string; next: string }];
  ready: [];
  closed: [];
}

export type AppEvents = EventEmitter<CachewrightEvents>;

export function createEvents(): AppEvents {
  return new EventEmitter<CachewrightEvents>();
}

interface Logs {
  readonly log: Log;
  readonly jobs: JobLog;
  readonly messages: 'all' | 'failures' | 'none';
}

/** Tells listeners and the log what a closed execution did. */
export function announce(events: AppEvents, { log, jobs, messages }: Logs, closed: ClosedExecution): void {
  const { execution, runs, startedMs, endedMs } = closed;
  const { job, name } = execution;
  const states: Record<string, number> = {};
  for (const { state } of runs) states[state] = (states[state] ?? 0) + 1;
  const durationMs = Math.round((endedMs - startedMs) * 100) / 100;
  const line = { name, execution: execution.execution, messages: runs.length, states, durationMs };
  events.emit('chunk', { job, ...line });
  if (messages !== 'none') jobs.tell(line);
  const isHeard = events.listenerCount('message') > 0;
  const freeWaits = new Map<string, number>();
  for (const run of runs) {
    const isDead = run.state === 'rejected' || run.state === 'gaveUp';
    const waitsFree = run.dueMs > 0 && run.waitsFree;
    const hasFailed = isDead || (run.dueMs > 0 && !waitsFree && run.error !== undefined);
    if (waitsFree && run.error !== undefined) {
      freeWaits.set(run.error.message, (freeWaits.get(run.error.message) ?? 0) + 1);
    }
    if (!isHeard && !hasFailed && messages !== 'all') continue;
    const event = messageEventOf(run);
    if (isHeard) events.emit('message', event);
    if (messages === 'all') logSteps(log, event);
    if (hasFailed && messages !== 'none') logFailure(log, event);
    if (isDead) events.emit('dead', event);
  }
  // An outage makes many wait at once, and each look again: one line per reason says it.
  if (messages === 'none') return;
  for (const [reason, waiting] of freeWaits) log.warn({ chunk: name, messages: waiting }, reason);
}

function messageEventOf(run: ClosedExecution['runs'][number]): MessageEvent {
  const { change, error } = run;
  const isOver = run.dueMs === 0 && run.state !== 'rejected' && run.state !== 'gaveUp';
  return {
    message: run.id,
    service: change?.service.id ?? '',
    id: change?.id ?? '',
    key: change?.key ?? '',
    state: run.state,
    attempts: run.attempts,
    supersededBy: run.supersededBy,
    error:
      error === undefined || isOver ? null : { code: error.code, message: error.message, next: error.next },
    dueMs: run.dueMs,
    steps: run.trail.entries(),
  };
}

function logSteps(log: Log, event: MessageEvent): void {
  for (const step of event.steps) {
    log.info(
      {
        message: event.message,
        ...(event.service !== '' && { service: event.service, id: event.id }),
        ms: Math.round(step.durationMs * 100) / 100,
        ...(step.to === 'superseded' && { supersededBy: event.supersededBy }),
      },
      `${step.from} → ${step.to} (${step.event})`,
    );
  }
}

function logFailure(log: Log, event: MessageEvent): void {
  const fields = {
    message: event.message,
    ...(event.service !== '' && { service: event.service, id: event.id }),
    attempts: event.attempts,
    code: event.error?.code,
  };
  const text = `${event.error?.message ?? ''} ${event.error?.next ?? ''}`;
  if (event.dueMs > 0) log.warn({ ...fields, againAt: new Date(event.dueMs).toISOString() }, text);
  else log.error(fields, `${event.state}: ${text}`);
}
