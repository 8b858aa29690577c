import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { bullmqWorkers } from '../contract/bullmq-workers.ts';
import { aChunk, finish } from '../contract/chunk-worker-suite.ts';
import { describeWith } from '../support/needs.ts';

/** A worker that missed its wake-up looks again by itself after five seconds, or when the next job comes. */
const MISSED_MS = 2_000;

describeWith(['redis'], 'workers that leave looks out', () => {
  it.each([
    { workers: 1, concurrency: 16 },
    { workers: 2, concurrency: 16 },
    { workers: 3, concurrency: 1 },
  ])(
    'start every job of small bursts at once: $workers worker(s), $concurrency at a time',
    async ({ workers, concurrency }) => {
      const world = await bullmqWorkers();
      const addedMs = new Map<string, number>();
      const waitedMs: number[] = [];
      const started = new Set<string>();
      let handled = 0;
      const running = await Promise.all(
        Array.from({ length: workers }, (_, index) =>
          world.startWorker({ name: `worker-${index}`, concurrency }, async (execution) => {
            if (!started.has(execution.job))
              waitedMs.push(performance.now() - (addedMs.get(execution.job) ?? 0));
            started.add(execution.job);
            handled += 1;
            // Some are over within a turn, some outlast the bursts, some come back for another time.
            if (handled % 3 === 0) await sleep(handled % 13);
            if (handled % 11 === 0) return { kind: 'wait', dueMs: Date.now() + 5 };
            if (handled % 17 === 0) return { kind: 'handBack' };
            return finish(execution);
          }),
        ),
      );
      for (let burst = 0; burst < 150; burst += 1) {
        for (let job = 0; job <= burst % 4; job += 1) {
          const chunk = aChunk(`burst-${burst}-${job}`);
          addedMs.set(chunk.id, performance.now());
          await world.enqueue([chunk]);
          for (let turns = 0; turns < (burst * 7) % 40; turns += 1) await turn();
        }
        // Nothing else comes that would wake a worker.
        await world.until('the burst to be started', () => started.size === addedMs.size);
      }
      expect(waitedMs).toHaveLength(addedMs.size);
      expect(Math.max(...waitedMs)).toBeLessThan(MISSED_MS);
      await Promise.all(running.map((worker) => worker.close(10_000)));
      await world.close();
    },
  );
});
