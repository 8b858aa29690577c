/** Queues and workers on virtual clocks: those of the simulation, and the one of the harness. */
import { createMemoryAudit } from '../../src/adapters/memory-audit.ts';
import { fail } from '../../src/core/errors.ts';
import type { DeadLetter, ExecutionHandler } from '../../src/core/ports.ts';
import { createMemoryQueue } from '../../src/testing/memory-queue.ts';
import { createVirtualClock, type VirtualClock } from '../../src/testing/virtual-clock.ts';
import { JobServer } from '../reliability/simulate/job-server.ts';
import { createSimWorker } from '../reliability/simulate/job-worker.ts';
import { Network } from '../reliability/simulate/network.ts';
import { play } from '../reliability/simulate/own-time.ts';
import { clockOf, SimProcess } from '../reliability/simulate/process.ts';
import { createRandom } from '../reliability/simulate/random.ts';
import { remoteQueue } from '../reliability/simulate/remote-ports.ts';
import { type FleetWorld, KEPT, lettersOf, settledOf } from './chunk-worker-fleet.ts';
import type { WorkerWorld } from './chunk-worker-suite.ts';

/** Virtual: a test that waits for longer waits in vain. */
const MOST_STEPS = 50_000;

export async function simulatedWorkers(): Promise<FleetWorld> {
  const clock = createVirtualClock(1_700_000_000_000);
  const server = new JobServer({ clock, keep: KEPT });
  const network = new Network({
    clock,
    random: createRandom(1),
    onKill: () => undefined,
    onStall: () => undefined,
  });
  return {
    clock,
    enqueue: async (chunks) => server.add(chunks),
    async startWorker(
      { name = 'worker', concurrency = 1, lockMs = 60_000, stalledIntervalMs = 100 },
      handler,
    ) {
      const process = new SimProcess(name);
      const queue = remoteQueue({ process, network }, server, () => Number.POSITIVE_INFINITY);
      const worker = createSimWorker(
        {
          name,
          server,
          call: (port, effect) =>
            network.call(process, 'redis', port, effect, (reason) => fail('E_REDIS_UNAVAILABLE', { reason })),
          enqueue: (chunks) => queue.enqueue(chunks),
          concurrency,
          lockMs,
          stalledIntervalMs,
          clock: clockOf(process, clock),
        },
        handler,
      );
      await worker.start();
      return {
        close: (graceMs) => worker.close(graceMs),
        cutOff: () => void (process.isCutOff = true),
        comeBack: async () => void (process.isCutOff = false),
      };
    },
    async expireLock(id) {
      const state = server.snapshot();
      const job = state.jobs.get(id);
      if (job !== undefined) job.lock = undefined;
      server.restore(state);
    },
    left: async (job) => server.left(job),
    audit: async () => server.audit.map(({ json }) => json),
    letters: async () => lettersOf(server.deadOutbox),
    settled: async () => settledOf(server.deadOutbox),
    until: (what, condition) => playUntil(clock, what, condition),
    close: async () => undefined,
  };
}

export async function memoryWorkers(): Promise<WorkerWorld> {
  const clock = createVirtualClock(1_700_000_000_000);
  const audit: string[] = [];
  const deadLetters: DeadLetter[] = [];
  const store = createMemoryAudit();
  const queue = createMemoryQueue({
    clock,
    audit: {
      append: (outbox, entries) => {
        audit.push(...entries.map(({ json }) => json));
        return store.append(outbox, entries);
      },
    },
    deadLetters,
  });
  let handler: ExecutionHandler | undefined;
  return {
    clock,
    enqueue: (chunks) => queue.enqueue(chunks),
    startWorker: async (act) => void (handler = act),
    audit: async () => audit,
    letters: async () => lettersOf(deadLetters),
    async until(what, condition) {
      for (let steps = 0; steps < MOST_STEPS; steps += 1) {
        if (handler !== undefined) await queue.runDue(handler);
        if (await condition()) return;
        const next = queue.nextDueMs();
        if (next === undefined) break;
        clock.advanceTo(next);
      }
      throw new Error(`gave up waiting for ${what}`);
    },
    close: () => queue.close(),
  };
}

/** Moves a virtual clock until it is so; as `waitFor`, a condition that throws is not met yet. */
async function playUntil(
  clock: VirtualClock,
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const isMet = (): Promise<boolean> =>
    Promise.resolve()
      .then(condition)
      .catch(() => false);
  for (let steps = 0; steps < MOST_STEPS; steps += 1) {
    if (await isMet()) return;
    const isAtEnd = (await play(clock, () => false, 1)) === 0;
    if (isAtEnd && !(await isMet())) break;
  }
  throw new Error(`gave up waiting for ${what}`);
}
