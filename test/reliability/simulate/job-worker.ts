/** BullMQ's worker, and our adapter over it, as the simulation has them: the same rules of locks, twins and endings. */
import { type Left, progressOf, progressWord } from '../../../src/adapters/bullmq-closing-script.ts';
import { fail } from '../../../src/core/errors.ts';
import type {
  ChunkWorker,
  Clock,
  Execution,
  ExecutionEnd,
  ExecutionHandler,
  QueuedChunk,
} from '../../../src/core/ports.ts';
import type { JobServer, TakenJob } from './job-server.ts';

export interface SimWorkerOptions {
  readonly name: string;
  readonly server: JobServer;
  /** Calls the server as a process does. */
  readonly call: <T>(port: string, effect: () => T | Promise<T>) => Promise<T>;
  readonly enqueue: (chunks: readonly QueuedChunk[]) => Promise<void>;
  readonly concurrency: number;
  readonly lockMs: number;
  readonly stalledIntervalMs: number;
  readonly clock: Clock;
}

interface Running {
  readonly token: string;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

const UNFORESEEN_RETRY_MS = 1_000;
const IDLE_MS = 5_000;
const FIRST_PROGRESS_MS = 50;
const NOTHING_LEFT: Left = { closed: 0, begun: 0, passed: [], progress: '' };
const EMPTY = JSON.stringify({ format: 1, positions: [] });

export function createSimWorker(options: SimWorkerOptions, handler: ExecutionHandler): ChunkWorker {
  const { server, call, clock, name, lockMs } = options;
  const running = new Map<string, Running>();
  const stop = new AbortController();
  /** Locks are kept until what is in hand has come to its end, also while the worker closes. */
  const idle = new AbortController();
  let tokens = 0;
  const tokenOf = (number: number): string => `${name}:${number}`;
  let slots: Promise<unknown> = Promise.resolve();

  const work = async (job: TakenJob, token: string): Promise<void> => {
    const earlier = running.get(job.id);
    if (earlier !== undefined) {
      earlier.abort.abort(fail('E_ABORTED', { reason: 'the job was handed out again' }));
      await earlier.ended;
      await call('queue.moveToWait', () => server.moveToWait(job.id, token));
      return;
    }
    const abort = new AbortController();
    const ended = Promise.withResolvers<void>();
    running.set(job.id, { token, abort, ended: ended.promise });
    try {
      const execution = await executionOf(options, job, token, abort.signal);
      await endJob(options, job.id, token, await handler(execution));
    } catch {
      // As BullMQ treats what a processor throws: an attempt, and our backoff for what says no wait.
      await call('queue.retry', () => server.moveToDelayed(job.id, token, clock.now() + UNFORESEEN_RETRY_MS));
    } finally {
      running.delete(job.id);
      ended.resolve();
    }
  };

  const slot = async (): Promise<void> => {
    // One token for jobs that follow directly upon each other, as BullMQ has it.
    let token = tokenOf((tokens += 1));
    while (!stop.signal.aborted) {
      try {
        const job = await call('queue.take', () => server.take(token, lockMs));
        if (job !== undefined) {
          await work(job, token);
          continue;
        }
        await Promise.race([server.changed(IDLE_MS), aborted(stop.signal)]);
      } catch {
        // The lock is gone, or Redis: whoever finds the job stalled goes on with it.
        await clock.sleep(UNFORESEEN_RETRY_MS).catch(() => undefined);
      }
      token = tokenOf((tokens += 1));
    }
  };

  const every = async (ms: number, until: AbortSignal, act: () => Promise<void>): Promise<void> => {
    while (!until.aborted) {
      await clock.sleep(ms, until).catch(() => undefined);
      await act().catch(() => undefined);
    }
  };
  const renew = async (): Promise<void> => {
    const held = [...running].map(([id, { token }]) => ({ id, token }));
    if (held.length === 0) return;
    const lost = await call('queue.renew', () => server.renew(held, lockMs));
    for (const id of lost) running.get(id)?.abort.abort(fail('E_ABORTED', { reason: 'the lock was lost' }));
  };

  return {
    start() {
      slots = Promise.all(Array.from({ length: options.concurrency }, slot));
      void slots.finally(() => idle.abort());
      void every(lockMs / 2, idle.signal, renew);
      void every(options.stalledIntervalMs, stop.signal, () =>
        call('queue.stalled', () => server.checkStalled(options.stalledIntervalMs)),
      );
      return Promise.resolve();
    },
    async close(graceMs) {
      stop.abort();
      await Promise.race([slots, clock.sleep(graceMs, idle.signal).catch(() => undefined)]);
      for (const { abort } of running.values())
        abort.abort(fail('E_ABORTED', { reason: 'the process shuts down' }));
      await Promise.race([slots, clock.sleep(2_000, idle.signal).catch(() => undefined)]);
      idle.abort();
    },
  };
}

async function executionOf(
  { server, call, clock, name, enqueue }: SimWorkerOptions,
  job: TakenJob,
  token: string,
  signal: AbortSignal,
): Promise<Execution> {
  const number = job.attemptsStarted;
  const left = number > 1 ? await call('queue.left', () => server.left(job.id)) : NOTHING_LEFT;
  const startedMs = clock.now();
  const closed = new AbortController();
  let told = '';
  let isToldLater = false;
  const own = { job: job.id, token, execution: number };
  const tell = (): void => {
    const value = progressWord(number, name, told);
    void call('queue.progress', () => server.note({ ...own, field: 'progress', value })).catch(
      () => undefined,
    );
  };
  return {
    job: job.id,
    name: job.name,
    data: job.data,
    execution: number,
    lastClosed: left.closed,
    begun: left.begun,
    passed: left.passed,
    lastProgress: progressOf(number - 1, left.progress),
    worker: name,
    signal,
    progress(state) {
      told = state;
      if (clock.now() - startedMs >= FIRST_PROGRESS_MS) tell();
      else if (!isToldLater) {
        isToldLater = true;
        void clock.sleep(FIRST_PROGRESS_MS, closed.signal).then(tell, () => undefined);
      }
    },
    begin: () => call('queue.begin', () => server.note({ ...own, field: 'begun', value: '+1' })),
    pass: () =>
      call('queue.pass', () =>
        server.note({ ...own, field: 'passed', value: [...left.passed, number].join(' ') }),
      ),
    split: (parts) => enqueue(parts),
    close: ({ rest, audit, deadLetters, settled }) => {
      closed.abort();
      const data = rest === null ? EMPTY : JSON.stringify(rest);
      return call('queue.close', () =>
        server.close(job.id, token, { execution: number, data, audit, deadLetters, settled }),
      );
    },
  };
}

async function endJob(
  { server, call, clock }: SimWorkerOptions,
  id: string,
  token: string,
  end: ExecutionEnd,
): Promise<void> {
  switch (end.kind) {
    case 'done':
      return call('queue.complete', () => server.complete(id, token));
    case 'retry':
    case 'wait':
      return call('queue.delay', () => server.moveToDelayed(id, token, Math.max(end.dueMs, clock.now() + 1)));
    case 'handBack':
      return call('queue.moveToWait', () => server.moveToWait(id, token)).catch(() => undefined);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
