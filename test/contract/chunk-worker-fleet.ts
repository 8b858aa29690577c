/** Workers of one queue, for the suites: what they were handed, and time that passes until something is so. */
import { afterEach, beforeEach, expect } from 'vitest';
import type { Left } from '../../src/adapters/bullmq-closing-script.ts';
import type { Settlement } from '../../src/core/dead-letter.ts';
import type {
  ChunkWorker,
  Closing,
  DeadLetter,
  Execution,
  ExecutionEnd,
  ExecutionHandler,
} from '../../src/core/ports.ts';
import { aLetter } from '../support/dead-letter.ts';
import { closingOf, dataOf, recorder, type WorkerWorld } from './chunk-worker-suite.ts';

/** How many finished jobs a queue of the suite knows. */
export const KEPT = 3;

export interface WorkerSettings {
  readonly name?: string;
  /** @defaultValue 1 */
  readonly concurrency?: number;
  /** Long enough never to run out by itself. @defaultValue 60_000 */
  readonly lockMs?: number;
  /** @defaultValue 100 */
  readonly stalledIntervalMs?: number;
}

/** A worker in a process of its own, as far as the queue can tell. */
export interface WorkerUnderTest extends Pick<ChunkWorker, 'close'> {
  /** The queue hears nothing of it any more: it died, or its network did. */
  cutOff(): void;
  /** Resolves when all its connections are back. */
  comeBack(): Promise<void>;
}

export interface FleetWorld extends Omit<WorkerWorld, 'startWorker'> {
  startWorker(settings: WorkerSettings, handler: ExecutionHandler): Promise<WorkerUnderTest>;
  /** The job's lock runs out now, whoever has it. */
  expireLock(job: string): Promise<void>;
  left(job: string): Promise<Left>;
  /** Ids of letters that closings took away. */
  settled(): Promise<readonly string[]>;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

export const lettersOf = (entries: readonly (DeadLetter | Settlement)[]): string[] =>
  entries.flatMap((entry) => ('settled' in entry ? [] : [entry.message]));
export const settledOf = (entries: readonly (DeadLetter | Settlement)[]): string[] =>
  entries.flatMap((entry) => ('settled' in entry ? entry.settled : []));

/** A closing that would leave its mark everywhere. */
export const everything = {
  rest: dataOf(['of a zombie']),
  audit: ['"of a zombie"'],
  deadLetters: [aLetter(1)],
  settled: ['changes-0@1.0.0'],
};

/** A fresh world for each test of the suite that asks; its workers are closed behind it. */
export function fleetOf(open: () => Promise<FleetWorld>) {
  let world: FleetWorld;
  let seen: ReturnType<typeof recorder>;
  let workers: WorkerUnderTest[];
  let over: PromiseWithResolvers<void>;
  beforeEach(async () => {
    world = await open();
    seen = recorder(() => world.clock.now());
    workers = [];
    over = Promise.withResolvers();
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.comeBack()));
    over.resolve();
    await awaited(Promise.all(workers.map((worker) => worker.close(60_000))));
    await world.close();
  });

  const start = async (settings: WorkerSettings, act: ExecutionHandler): Promise<WorkerUnderTest> => {
    const worker = await world.startWorker(settings, seen.around(act));
    workers.push(worker);
    return worker;
  };
  const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
    world.until(what, condition);
  const untilSeen = (...wanted: readonly string[]): Promise<void> =>
    until(wanted.join(', '), () => wanted.every((each) => seen.names().includes(each)));
  /** Lets time pass until the promise settles. */
  const awaited = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    promise.then(settle, settle);
    await until('a promise', () => isSettled);
    return promise;
  };
  /** Does nothing for as long as the test, or until it is told to stop; then leaves the job to others. */
  const hang = async ({ signal }: Pick<Execution, 'signal'>): Promise<ExecutionEnd> => {
    await Promise.race([aborted(signal), over.promise]);
    return { kind: 'handBack' };
  };
  /** Asks until it is answered: a process that just came back may not reach the queue yet. */
  const reached = async <T>(call: () => Promise<T>): Promise<T | undefined> => {
    let answer: T | undefined;
    await until('the queue to be reached', async () => {
      answer = await awaited(call());
      return true;
    });
    return answer;
  };
  const closeAs = async (index: number, closing: Partial<Closing>): Promise<string | undefined> =>
    seen.executions[index]?.close(closingOf(closing));
  const nothingWritten = async (): Promise<void> => {
    expect(await world.audit()).toEqual([]);
    expect(await world.letters()).toEqual([]);
    expect(await world.settled()).toEqual([]);
  };
  return {
    world: () => world,
    seen: () => seen,
    start,
    until,
    untilSeen,
    awaited,
    hang,
    reached,
    closeAs,
    nothingWritten,
  };
}
