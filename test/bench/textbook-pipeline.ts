/**
 * The shape one reads about: one BullMQ job per message, and for each job an xstate actor with four invoked promises
 * (parse, fetch, store in keyv, store in Redis with SET). Tuned as far as the shape allows: jobs added in bulk, high
 * concurrency, finished jobs removed at once, no serialisation in keyv. It has no fence and no audit.
 */
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { Keyv } from 'keyv';
import { assign, createActor, fromPromise, setup, toPromise } from 'xstate';
import { createConsumer, readTask, reportDone } from './baseline-child.ts';

interface Product {
  readonly id: number;
}

interface Fetched {
  readonly key: string;
  readonly text: string;
}

const CONCURRENCY = 64;
/** Jobs in one addBulk; a whole Kafka batch of thousands in one pipeline only makes memory peaks. */
const JOBS_PER_CALL = 1_000;

const task = readTask();
const redis = new Redis(task.redisUrl);
const local = new Keyv({ store: new Map(), serialization: false });
const done = reportDone(task.redisUrl);

/** xstate takes its types as values that it never looks at. */
interface Types {
  input: { raw: string };
  context: { raw: string; product: Product | null; fetched: Fetched | null };
}
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const types = {} as Types;

const machine = setup({
  types,
  actors: {
    parse: fromPromise(({ input }: { input: string }) => Promise.resolve(parse(input))),
    fetch: fromPromise(({ input }: { input: { product: Product | null; raw: string } }) =>
      Promise.resolve({ key: `product_info_${input.product?.id}`, text: input.raw }),
    ),
    storeLocal: fromPromise(({ input }: { input: Fetched | null }) =>
      local.set(input?.key ?? '', input?.text ?? '', 3_600_000),
    ),
    storeRedis: fromPromise(({ input }: { input: Fetched | null }) =>
      redis.set(input?.key ?? '', input?.text ?? ''),
    ),
  },
}).createMachine({
  initial: 'received',
  context: ({ input }) => ({ raw: input.raw, product: null, fetched: null }),
  states: {
    received: {
      invoke: {
        src: 'parse',
        input: ({ context }) => context.raw,
        onDone: { target: 'parsed', actions: assign({ product: ({ event }) => event.output }) },
        onError: 'failed',
      },
    },
    parsed: {
      invoke: {
        src: 'fetch',
        input: ({ context }) => context,
        onDone: { target: 'fetched', actions: assign({ fetched: ({ event }) => event.output }) },
        onError: 'failed',
      },
    },
    fetched: {
      invoke: {
        src: 'storeLocal',
        input: ({ context }) => context.fetched,
        onDone: 'localCached',
        onError: 'failed',
      },
    },
    localCached: {
      invoke: {
        src: 'storeRedis',
        input: ({ context }) => context.fetched,
        onDone: 'redisCached',
        onError: 'failed',
      },
    },
    redisCached: { type: 'final' },
    failed: { type: 'final' },
  },
});

const connection = new Redis(task.redisUrl, { maxRetriesPerRequest: null });
const queue = new Queue<string>('changes', {
  connection,
  defaultJobOptions: { removeOnComplete: true, attempts: 5, backoff: { type: 'exponential', delay: 1_000 } },
});
const worker = new Worker<string>(
  'changes',
  async (job) => {
    const actor = createActor(machine, { input: { raw: job.data } });
    const end = toPromise(actor);
    actor.start();
    await end;
    if (!actor.getSnapshot().matches('redisCached')) throw new Error('not stored');
    done.add(1);
  },
  { connection, concurrency: CONCURRENCY },
);
worker.on('error', () => undefined);

const consumer = createConsumer(task);
await consumer.connect();
await consumer.subscribe({ topic: task.topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  partitionsConsumedConcurrently: task.partitions,
  eachBatch: async (payload) => {
    const { batch } = payload;
    const { topic, partition, messages } = batch;
    for (let start = 0; start < messages.length; start += JOBS_PER_CALL) {
      const jobs = messages.slice(start, start + JOBS_PER_CALL);
      await queue.addBulk(
        jobs.map(({ value, offset }) => ({
          name: 'change',
          data: value?.toString() ?? '',
          opts: { jobId: `${topic}.${partition}.${offset}` },
        })),
      );
      await payload.heartbeat();
    }
    payload.resolveOffset(batch.lastOffset());
    const next = (BigInt(batch.lastOffset()) + 1n).toString();
    await consumer.commitOffsets([{ topic, partition, offset: next }]);
  },
});

function parse(text: string): Product {
  const product: Product = JSON.parse(text);
  return product;
}
