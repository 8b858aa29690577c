import { createChunkWorker } from '../adapters/bullmq-worker.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { announce } from './events.ts';
import { type Parts, QUEUE, wrap } from './parts.ts';

/** How often jobs that BullMQ failed by itself are looked for. */
const SWEEP_MS = 15_000;

/** The worker role of a process: attempts of jobs, closed in one step, told to the log and to listeners. */
export function buildWorker(parts: Parts) {
  const { config, clock, log, events, mover, connections, queue, wraps } = parts;
  const attempt = createPipeline({
    ...parts,
    effectTimeoutMs: config.worker.effectTimeoutMs,
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
    wrap(attempt, wraps.attempt),
  );
}
