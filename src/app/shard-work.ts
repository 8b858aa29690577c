import { createDeadLetterMover, type DeadLetterMover } from '../adapters/bullmq-dead-letters.ts';
import { createChunkWorker } from '../adapters/bullmq-worker.ts';
import { hasShardWork } from '../adapters/redis-shard-look.ts';
import type { Config } from '../config/schema.ts';
import { deadLetterTopicOf } from '../core/dead-letter.ts';
import type { ChunkWorker, DeadLetter, ExecutionHandler } from '../core/ports.ts';
import { shareOf } from '../core/shards.ts';
import type { DeadLetterDelivery } from '../dead-letters/deliver.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { deadLetterDelivery } from './dead-letter-delivery.ts';
import { announce } from './events.ts';
import { createJobLog, type JobLog } from './job-log.ts';
import { type Parts, wrap } from './parts.ts';
import { QUEUE, type QueueShard } from './queue-shards.ts';

/** How often jobs that BullMQ failed by itself are looked for. */
const SWEEP_MS = 15_000;

/** What a process does for one shard. */
interface Served {
  readonly worker: ChunkWorker;
  readonly mover: DeadLetterMover;
  readonly delivery: DeadLetterDelivery | undefined;
}

/** The worker role of a process: for each shard its jobs, its audit outbox, and the way of its dead letters. */
export interface ShardWork {
  /**
   * Begins with every shard that is not served yet: those that are configured, and others in which something waits, left from
   * when there were more, or put there by a process that has more.
   */
  serve(): Promise<void>;
  closeWorkers(graceMs: number): Promise<void>;
  closeMovers(): Promise<void>;
  closeDeliveries(): Promise<void>;
}

export function createShardWork(parts: Parts): ShardWork {
  const { config, connections, shards, audit, log } = parts;
  const served = new Map<number, Served>();
  const jobLog = createJobLog(parts);
  const attempt = createShardAttempt(parts, jobLog, () => served.values());
  let isClosing = false;
  let serving: Promise<void> = Promise.resolve();

  const isWanted = async ({ number, keys }: QueueShard): Promise<boolean> => {
    if (served.has(number)) return false;
    return number < config.queue.shards || hasShardWork(connections.queue, keys);
  };
  const serveOne = async (shard: QueueShard): Promise<void> => {
    if (isClosing || !(await isWanted(shard))) return;
    if (shard.number >= config.queue.shards)
      log.warn(
        { shard: shard.number, shards: config.queue.shards },
        'serving a shard of the queue that is not configured: something is left in it',
      );
    await audit.follow([shard.keys.auditOutbox]);
    const worker = createShardWorker(parts, shard, attempt);
    const mover = createShardMover(parts, shard);
    const delivery = config.kafka && deadLetterDelivery(parts, config.kafka, shard);
    served.set(shard.number, { worker, mover, delivery });
    mover.start();
    delivery?.start();
    await worker.start();
  };

  return {
    serve() {
      serving = serving
        .catch(() => undefined)
        .then(async () => void (await Promise.all(shards.all().map(serveOne))));
      return serving;
    },
    async closeWorkers(graceMs) {
      isClosing = true;
      await Promise.all([...served.values()].map(({ worker }) => worker.close(graceMs)));
      jobLog.close();
    },
    closeMovers: async () => void (await Promise.all([...served.values()].map(({ mover }) => mover.close()))),
    async closeDeliveries() {
      const deliveries = [...served.values()].flatMap(({ delivery }) => delivery ?? []);
      await Promise.all(deliveries.map((delivery) => delivery.close()));
    },
  };
}

/** One for all shards: what a process has in hand, and whom it suspects, is one. */
function createShardAttempt(parts: Parts, jobs: JobLog, served: () => Iterable<Served>): ExecutionHandler {
  const { config, log, events, wraps } = parts;
  const attempt = createPipeline({
    ...parts,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    onClosed: (closed) => {
      announce(events, { log, jobs, messages: config.log.messages }, closed);
      const hasDead = closed.runs.some((run) => run.state === 'rejected' || run.state === 'gaveUp');
      if (hasDead || closed.execution.data.redrive > 0) for (const { mover } of served()) mover.wake();
    },
  });
  return wrap(attempt, wraps.attempt);
}

function createShardWorker(parts: Parts, shard: QueueShard, attempt: ExecutionHandler): ChunkWorker {
  const { config, clock, log, connections, shards, instance } = parts;
  const { concurrency, lockMs, stalledIntervalMs, shards: configured } = config.queue;
  return createChunkWorker(
    {
      connection: connections.blocking,
      scripts: connections.queue,
      queue: QUEUE,
      prefix: shard.prefix,
      name: instance,
      // What is left in other shards is worked off beside the configured ones.
      concurrency: shareOf(
        concurrency,
        shard.number,
        shard.number < configured ? configured : shards.register.count(),
      ),
      lockMs,
      stalledIntervalMs,
      sweepMs: SWEEP_MS,
      // Parts stay where their parent is: a server that loses them loses its closing too.
      enqueue: (chunks) => shard.queue.enqueue(chunks),
      clock,
      log,
    },
    attempt,
  );
}

function createShardMover(parts: Parts, { prefix, keys }: QueueShard): DeadLetterMover {
  const { config, connections, letters, clock, log } = parts;
  const isFor = forKafka(config);
  return createDeadLetterMover({
    redis: connections.queue,
    connection: connections.blocking,
    prefix,
    outbox: keys.deadOutbox,
    kafka: isFor && { outbox: keys.deadKafkaOutbox, isFor },
    // A letter's new run may have been in another shard than the letter is.
    takeAway: (ids) => letters.remove(ids),
    clock,
    log,
  });
}

function forKafka({ kafka }: Config): ((letter: DeadLetter) => boolean) | undefined {
  const pattern = kafka?.deadLetters?.topic;
  if (pattern === undefined) return undefined;
  return ({ origin }) => deadLetterTopicOf(pattern, origin) !== undefined;
}
