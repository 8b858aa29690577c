import { describeWith } from '../support/needs.ts';
import { bullmqWorkers } from './bullmq-workers.ts';
import type { FleetWorld, WorkerUnderTest } from './chunk-worker-fleet.ts';
import { chunkWorkerLivesSuite } from './chunk-worker-lives-suite.ts';
import { chunkWorkerLocksSuite } from './chunk-worker-locks-suite.ts';
import { chunkWorkerSuite, type WorkerWorld } from './chunk-worker-suite.ts';
import { memoryWorkers, simulatedWorkers } from './simulated-workers.ts';

/** One worker of a world that is all one worker asks for. */
const withOneWorker = async (open: Promise<FleetWorld>): Promise<WorkerWorld> => {
  const world = await open;
  const workers: WorkerUnderTest[] = [];
  return {
    ...world,
    startWorker: async (handler) => void workers.push(await world.startWorker({}, handler)),
    async close() {
      let isClosed = false;
      void Promise.all(workers.map((worker) => worker.close(60_000))).finally(() => (isClosed = true));
      await world.until('the workers to close', () => isClosed);
      await world.close();
    },
  };
};

chunkWorkerSuite('in memory', memoryWorkers);

chunkWorkerSuite('in the simulation', () => withOneWorker(simulatedWorkers()));
chunkWorkerLocksSuite('in the simulation', simulatedWorkers);
chunkWorkerLivesSuite('in the simulation', simulatedWorkers);

describeWith(['redis'], 'on a real server', () => {
  chunkWorkerSuite('BullMQ', () => withOneWorker(bullmqWorkers()));
  chunkWorkerLocksSuite('BullMQ', bullmqWorkers);
  chunkWorkerLivesSuite('BullMQ', bullmqWorkers);
});
