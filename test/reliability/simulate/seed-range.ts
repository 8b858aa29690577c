/** Many seeds, spread over threads. */
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { describeViolations } from '../invariants.ts';
import { runSeed } from './run-seed.ts';

/** What is kept of a run; its history stays with the seed, which brings it back. */
export interface SeedSummary {
  readonly seed: number;
  readonly counts: boolean;
  readonly faults: readonly string[];
  readonly messages: number;
  readonly steps: number;
  readonly virtualMs: number;
  /** Each violation in one line. */
  readonly violations: readonly string[];
}

interface Task {
  readonly from: number;
  readonly runs: number;
  readonly faults: readonly string[] | undefined;
}

/** Seeds of one task: small, so that threads end together. */
const SEEDS_PER_TASK = 25;

async function summarise(seed: number, faults?: readonly string[]): Promise<SeedSummary> {
  const run = await runSeed(seed, faults === undefined ? {} : { faults });
  const { counts, messages, steps, virtualMs } = run;
  const violations = run.violations.map(({ invariant, what }) => `${invariant}: ${what}`);
  return { seed, counts, faults: run.faults, messages, steps, virtualMs, violations };
}

/** A failing seed once more, with the trails of whom it concerns. */
export async function explainSeed(seed: number, faults?: readonly string[]): Promise<string> {
  const { violations } = await runSeed(seed, faults === undefined ? {} : { faults });
  return describeViolations(violations);
}

/** @param onSeed called for every seed as it is done, in no order */
export async function runSeeds(
  range: Task & { readonly threads: number },
  onSeed: (summary: SeedSummary) => void,
): Promise<void> {
  const { from, runs, faults } = range;
  const tasks: Task[] = [];
  for (let at = from; at < from + runs; at += SEEDS_PER_TASK) {
    tasks.push({ from: at, runs: Math.min(SEEDS_PER_TASK, from + runs - at), faults });
  }
  const threads = Math.min(tasks.length, range.threads === 0 ? availableParallelism() : range.threads);
  await Promise.all(Array.from({ length: threads }, () => drain(tasks, onSeed)));
}

function drain(tasks: Task[], onSeed: (summary: SeedSummary) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: 'seeds' });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const next = (): void => {
    const task = tasks.shift();
    if (task === undefined) void worker.terminate().then(() => resolve());
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    else worker.postMessage(task);
  };
  worker.on('error', reject);
  worker.on('message', (message: SeedSummary | 'done') => (message === 'done' ? next() : onSeed(message)));
  next();
  return promise;
}

if (!isMainThread && workerData === 'seeds') {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
  const say = (message: SeedSummary | 'done'): void => parentPort?.postMessage(message);
  parentPort?.on('message', ({ from, runs, faults }: Task) => {
    void (async () => {
      for (let seed = from; seed < from + runs; seed += 1) say(await summarise(seed, faults));
      say('done');
    })();
  });
}
