import { DelayedError, type Job, Queue, WaitingError } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import { type ChunkData, type EmptyChunk, PLAIN_FORMAT } from '../core/chunk.ts';
import { asError, fail, reasonOf } from '../core/errors.ts';
import { packChunk, unpackChunk } from '../core/packed-chunk.ts';
import { within } from '../core/within.ts';
import type {
  ChunkWorker,
  Clock,
  Execution,
  ExecutionEnd,
  ExecutionHandler,
  Log,
  QueuedChunk,
} from '../core/ports.ts';
import {
  type ClosingScript,
  createClosingScript,
  type Left,
  progressOf,
  progressWord,
} from './bullmq-closing-script.ts';
import { queueKeys } from './bullmq-keys.ts';
import { PromptWorker } from './bullmq-prompt-worker.ts';

export interface WorkerOptions {
  /** BullMQ's connection for workers: `maxRetriesPerRequest: null`. */
  readonly connection: Redis | Cluster;
  /** A connection with deadlines, for the closing script. */
  readonly scripts: Redis | Cluster;
  readonly queue: string;
  /** Hash-tagged, e.g. `{cachewright}`. */
  readonly prefix: string;
  /** Name of this instance, shown as the job's worker and kept in trails; no spaces. */
  readonly name: string;
  readonly concurrency: number;
  readonly lockMs: number;
  readonly stalledIntervalMs: number;
  /** How often jobs that BullMQ failed by itself are looked for, milliseconds. */
  readonly sweepMs: number;
  /** Adds the parts of a split job. */
  readonly enqueue: (chunks: readonly QueuedChunk[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** An execution that runs in this process. */
interface Running {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** Thrown to BullMQ so that it counts an attempt and waits until `dueMs`. */
class RetryLater extends Error {
  readonly dueMs: number;

  constructor(message: string, dueMs: number, options: ErrorOptions) {
    super(message, options);
    this.name = 'RetryLater';
    this.dueMs = dueMs;
  }
}

/** A process that was away for longer than this before its first word is told of as "never told". */
const FIRST_PROGRESS_MS = 50;
/** The wait after a failure that says none: a bug of ours, or Redis gone while closing. */
const UNFORESEEN_RETRY_MS = 1_000;
const NOTHING_LEFT: Left = { closed: 0, begun: 0, passed: [], progress: '' };
const EMPTY: EmptyChunk = { format: PLAIN_FORMAT, positions: [] };

/** Runs executions of the queue's jobs by BullMQ's worker. Translates how they end; decides nothing itself. */
export function createChunkWorker(options: WorkerOptions, handler: ExecutionHandler): ChunkWorker {
  const { connection, prefix, queue, log, clock } = options;
  const script = createClosingScript(options.scripts, queueKeys(prefix, queue));
  const running = new Map<string, Running>();
  let isStopping = false;

  const process = async (job: Job, token = '', signal?: AbortSignal): Promise<unknown> => {
    const id = job.id ?? '';
    const earlier = running.get(id);
    if (earlier !== undefined) return handBackTwin(job, token, earlier, log);
    const abort = new AbortController();
    const ended = Promise.withResolvers<void>();
    running.set(id, { abort, ended: ended.promise });
    try {
      const both = signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]);
      const execution = await executionOf(options, script, job, token, both);
      return await endJob(job, token, await handler(execution), clock);
    } finally {
      running.delete(id);
      ended.resolve();
    }
  };

  const worker = new PromptWorker(queue, (job, token, signal) => process(job, token, signal), {
    connection,
    prefix,
    name: options.name,
    concurrency: options.concurrency,
    lockDuration: options.lockMs,
    stalledInterval: options.stalledIntervalMs,
    // BullMQ would fail a job that stalled too often without telling us; the crash-loop rule decides instead.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    runRetryDelay: 1_000,
    autorun: false,
    settings: { backoffStrategy: (_made, _type, error) => waitOf(error, clock) },
  });
  // Lost connections are told once, by the process's own connections; BullMQ tells each attempt to get them back.
  worker.on('error', (error) => log.debug({ err: reasonOf(error) }, 'worker'));
  worker.on('lockRenewalFailed', (ids: string[]) => {
    for (const id of ids) running.get(id)?.abort.abort(fail('E_ABORTED', { reason: 'the lock was lost' }));
  });

  const failures = new Queue(queue, { connection, prefix });
  failures.on('error', (error) => log.debug({ err: reasonOf(error) }, 'sweeper'));
  let sweeper: NodeJS.Timeout | undefined;
  const sweep = (): void => {
    sweepFailed(failures, log).catch((error: unknown) => log.debug({ err: reasonOf(error) }, 'sweeping'));
  };

  return {
    async start() {
      await worker.waitUntilReady();
      sweep();
      sweeper = setInterval(sweep, options.sweepMs);
      void worker.run().catch((error: unknown) => {
        if (!isStopping) log.error({ err: reasonOf(error) }, 'worker stopped');
      });
    },
    async close(graceMs) {
      isStopping = true;
      clearInterval(sweeper);
      const closing = worker
        .close()
        .catch((error: unknown) => log.warn({ err: reasonOf(error) }, 'closing the worker'));
      if (await within(closing, graceMs)) return;
      for (const { abort } of running.values())
        abort.abort(fail('E_ABORTED', { reason: 'the process shuts down' }));
      await within(Promise.allSettled([...running.values()].map(({ ended }) => ended)), 2_000);
      // `close()` hangs for ever while Redis is unreachable (bullmq#4656).
      if (!(await within(closing, 1_000))) await within(worker.close(true), 1_000);
    },
  };
}

/**
 * BullMQ tracks locks by job id: had we started a job whose earlier execution still runs here, the end of that one
 * would stop the renewal of the new one's lock. So the earlier is aborted and the job handed back for another pick-up.
 */
async function handBackTwin(job: Job, token: string, earlier: Running, log: Log): Promise<never> {
  log.warn({ job: job.id }, 'handed a job that still runs here: aborting the earlier execution');
  earlier.abort.abort(fail('E_ABORTED', { reason: 'the job was handed out again' }));
  await earlier.ended;
  await job.moveToWait(token);
  throw new WaitingError();
}

async function executionOf(
  { name, enqueue, clock, log }: WorkerOptions,
  script: ClosingScript,
  job: Job,
  token: string,
  signal: AbortSignal,
): Promise<Execution> {
  const id = job.id ?? '';
  let data: ChunkData | undefined;
  const number = job.attemptsStarted;
  const left = number > 1 ? await script.left(id) : NOTHING_LEFT;
  const startedMs = clock.now();
  let told = '';
  let timer: NodeJS.Timeout | undefined;
  const own = { job: id, token, execution: number };
  const tell = (): void => {
    const value = progressWord(number, name, told);
    script.note({ ...own, field: 'progress', value }).catch((error: unknown) => {
      log.debug({ job: id, err: reasonOf(error) }, 'progress not told');
    });
  };
  return {
    job: id,
    name: job.name,
    // Not before it is asked for: a job may wait for its turn.
    get data() {
      return (data ??= unpackChunk(job.data));
    },
    execution: number,
    lastClosed: left.closed,
    begun: left.begun,
    passed: left.passed,
    lastProgress: progressOf(number - 1, left.progress),
    worker: name,
    signal,
    // Most executions end within milliseconds: only one that lasts tells where it is.
    progress(state) {
      told = state;
      if (clock.now() - startedMs >= FIRST_PROGRESS_MS) tell();
      else timer ??= setTimeout(tell, FIRST_PROGRESS_MS);
    },
    async begin() {
      await script.note({ ...own, field: 'begun', value: '+1' });
    },
    async pass() {
      await script.note({ ...own, field: 'passed', value: [...left.passed, number].join(' ') });
    },
    split: (parts) => enqueue(parts),
    async close({ rest, audit, deadLetters, settled }) {
      clearTimeout(timer);
      const json = JSON.stringify(rest === null ? EMPTY : packChunk(rest));
      return script.close({ ...own, data: json, audit, deadLetters, settled });
    },
  };
}

async function endJob(job: Job, token: string, end: ExecutionEnd, clock: Clock): Promise<unknown> {
  switch (end.kind) {
    case 'done':
      return end.summary;
    case 'retry':
      throw new RetryLater(`${end.error.code}: ${end.error.message}`, end.dueMs, { cause: end.error });
    case 'wait':
      await job.moveToDelayed(Math.max(Math.ceil(end.dueMs), Math.ceil(clock.now()) + 1), token);
      throw new DelayedError();
    case 'handBack':
      // Refused when the lock is gone; whoever holds it then has the job anyway.
      await job.moveToWait(token).catch((error: unknown) => asError(error));
      throw new WaitingError();
  }
}

function waitOf(error: Error | undefined, clock: Clock): number {
  return error instanceof RetryLater
    ? Math.max(1, Math.ceil(error.dueMs - clock.now()))
    : UNFORESEEN_RETRY_MS;
}

/**
 * BullMQ fails a job by itself only at limits that we do not set, and then ignores its id for ever. Should it happen all
 * the same, the job's messages must not be lost: it is put back, loudly, and the crash-loop rule decides about it.
 */
async function sweepFailed(queue: Queue, log: Log): Promise<void> {
  for (const job of await queue.getFailed(0, 99)) {
    const error = fail('E_JOB_FAILED', { reason: job.failedReason });
    log.error({ job: job.id, code: error.code }, error.message);
    await job.retry('failed');
  }
}
