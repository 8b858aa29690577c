import type { ChunkData } from '../core/chunk.ts';
import { letterId } from '../core/dead-letter.ts';
import { unpackChunk } from '../core/packed-chunk.ts';
import type {
  AuditStore,
  ChunkQueue,
  Clock,
  DeadLetter,
  Execution,
  ExecutionEnd,
  ExecutionHandler,
  QueuedChunk,
} from '../core/ports.ts';

/** The queue and its workers in this process: a job runs when it is asked for, one after the other, in the order they are due. */
export interface MemoryQueue extends ChunkQueue {
  /** Runs what is due now, also what becomes due meanwhile. */
  runDue(handler: ExecutionHandler): Promise<void>;
  /** When the next job is due, epoch milliseconds; undefined: none is left. */
  nextDueMs(): number | undefined;
}

interface Job {
  readonly id: string;
  readonly name: string;
  data: ChunkData;
  executions: number;
  lastClosed: number;
  begun: number;
  /** Executions that left the job to a newer program. */
  readonly passed: number[];
  dueMs: number;
}

export interface MemoryQueueOptions {
  readonly clock: Clock;
  /** Where closings append their audit entries. */
  readonly audit: Pick<AuditStore, 'append'>;
  /** Where closings put their dead letters. */
  readonly deadLetters: DeadLetter[];
}

const OUTBOX = 'memory';
const WORKER = 'memory-worker';

export function createMemoryQueue({ clock, audit, deadLetters }: MemoryQueueOptions): MemoryQueue {
  const jobs = new Map<string, Job>();
  /** Ids that were ever added: as in BullMQ, adding one again does nothing. */
  const known = new Set<string>();
  let entries = 0;

  const enqueue = async (chunks: readonly QueuedChunk[], sent?: () => void): Promise<void> => {
    for (const { id, name, data } of chunks) {
      if (known.has(id)) continue;
      known.add(id);
      jobs.set(id, {
        id,
        name,
        data: unpackChunk(data),
        executions: 0,
        lastClosed: 0,
        begun: 0,
        passed: [],
        dueMs: clock.now(),
      });
    }
    sent?.();
  };

  const executionOf = (job: Job): Execution => {
    const execution = job.executions;
    return {
      job: job.id,
      name: job.name,
      data: job.data,
      execution,
      lastClosed: job.lastClosed,
      begun: job.begun,
      passed: job.passed.filter((passed) => passed > job.lastClosed),
      lastProgress: '',
      worker: WORKER,
      signal: new AbortController().signal,
      progress: () => undefined,
      async begin() {
        job.begun += 1;
      },
      async pass() {
        job.passed.push(execution);
      },
      split: (parts) => enqueue(parts),
      async close(closing) {
        if (job.lastClosed === execution) return 'repeated';
        job.lastClosed = execution;
        job.begun = 0;
        if (closing.rest === null) jobs.delete(job.id);
        else job.data = closing.rest;
        deadLetters.push(...closing.deadLetters);
        for (const id of closing.settled) {
          const at = deadLetters.findIndex((letter) => letterId(letter) === id);
          if (at !== -1) deadLetters.splice(at, 1);
        }
        await audit.append(
          OUTBOX,
          closing.audit.map((json) => ({ id: `${(entries += 1)}-0`, json })),
        );
        return 'closed';
      },
    };
  };

  return {
    enqueue,
    depth: async () => ({ jobs: jobs.size, bytes: JSON.stringify([...jobs.values()]).length }),
    nextDueMs: () =>
      jobs.size === 0 ? undefined : Math.min(...[...jobs.values()].map(({ dueMs }) => dueMs)),
    async runDue(handler) {
      for (let job = firstDue(jobs, clock); job !== undefined; job = firstDue(jobs, clock)) {
        job.executions += 1;
        settle(jobs, job, await handler(executionOf(job)), clock);
      }
    },
    close: async () => jobs.clear(),
  };
}

function firstDue(jobs: ReadonlyMap<string, Job>, clock: Clock): Job | undefined {
  let first: Job | undefined;
  for (const job of jobs.values()) {
    if (job.dueMs <= clock.now() && (first === undefined || job.dueMs < first.dueMs)) first = job;
  }
  return first;
}

function settle(jobs: Map<string, Job>, job: Job, end: ExecutionEnd, clock: Clock): void {
  if (end.kind === 'done') jobs.delete(job.id);
  // Never due at the instant it ends: a job that hands itself back for ever must not hold the harness.
  else job.dueMs = Math.max(end.kind === 'handBack' ? 0 : Math.ceil(end.dueMs), Math.floor(clock.now()) + 1);
}
