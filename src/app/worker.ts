import { createChunkWorker } from '../adapters/bullmq-worker.ts';
import { createAttempt } from '../pipeline/attempt.ts';
import { createEffects } from '../pipeline/effects.ts';
import { createExecutor } from '../pipeline/executor.ts';
import { announce } from './events.ts';
import { type Parts, QUEUE } from './parts.ts';

/** Runs of one call of an effect, and about how many bytes of records. */
const MAX_GROUP_RUNS = 500;
const MAX_GROUP_BYTES = 4 * 1024 ** 2;
/** How often jobs that BullMQ failed by itself are looked for. */
const SWEEP_MS = 15_000;

/** The worker role of a process: attempts of jobs, closed in one step, told to the log and to listeners. */
export function buildWorker(parts: Parts) {
  const { config, chart, clock, log, parse, events, mover, connections, queue } = parts;
  const executor = createExecutor({
    chart,
    effects: createEffects(parts),
    clock,
    log,
    maxGroupRuns: MAX_GROUP_RUNS,
    maxGroupBytes: MAX_GROUP_BYTES,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    defaultRetry: {
      attempts: 5,
      backoff: { initialMs: 500, factor: 2, maxMs: 60_000, jitter: 0.2 },
      horizonMs: 3_600_000,
    },
  });
  const attempt = createAttempt({
    chart,
    executor,
    parse,
    clock,
    log,
    onClosed: (closed) => {
      announce(events, log, config.log.messages, closed);
      if (closed.runs.some((run) => run.state === 'rejected' || run.state === 'gaveUp')) mover.wake();
    },
  });
  return createChunkWorker(
    {
      connection: connections.blocking,
      scripts: connections.queue,
      queue: QUEUE,
      prefix: parts.prefix,
      name: parts.instance,
      concurrency: config.queue.concurrency,
      lockMs: config.queue.lockMs,
      stalledIntervalMs: config.queue.stalledIntervalMs,
      sweepMs: SWEEP_MS,
      enqueue: (chunks) => queue.enqueue(chunks),
      clock,
      log,
    },
    attempt,
  );
}
