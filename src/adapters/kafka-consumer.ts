/** Keeps a kafkajs consumer alive: build, run, and when it ended, build another after a pause. */
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { type CachewrightError, fail } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';
import { within } from '../core/within.ts';
import { describeBrokers, type KafkaConnectionOptions, kafkaFault } from './kafka-connection.ts';

export interface KafkaConsumerOptions extends KafkaConnectionOptions {
  readonly topics: readonly string[];
  readonly groupId: string;
  /** A consumer that says nothing for so long loses its partitions, milliseconds. @defaultValue 10_000 */
  readonly sessionTimeoutMs?: number;
  /** @defaultValue 2_000 */
  readonly heartbeatMs?: number;
  /** Partitions whose batches are handled at the same time. @defaultValue 8 */
  readonly concurrency?: number;
  /** Bytes of one partition per fetch: sets how large chunks get when there is a backlog. @defaultValue 1_048_576 */
  readonly maxBytesPerPartition?: number;
  /** Bytes of one fetch over all partitions of a broker. @defaultValue 10_485_760 */
  readonly maxBytes?: number;
  /** How long a broker holds a fetch when there is nothing new, milliseconds; also the longest a close waits for it. @defaultValue 500 */
  readonly maxWaitMs?: number;
  /**
   * How often the ids of the cluster and of the topics are asked, milliseconds. A topic that is made anew while nobody
   * fetches from it is noticed by this only; until then its first messages wait. @defaultValue 30_000
   */
  readonly identityMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface KafkaConsumerHooks {
  /** Not awaited by kafkajs before the first fetch of the generation: what must come first is synchronous. */
  onJoin(consumer: Consumer, assignment: Readonly<Record<string, readonly number[]>>): void;
  /** The generation is over. */
  onLeft(error: CachewrightError): void;
  /** A batch of only control or aborted records, which kafkajs resolves by itself. */
  onEmptyBatch(topic: string, partition: number, lastOffset: string): void;
  onBatch(payload: EachBatchPayload): Promise<void>;
}

export interface KeptConsumer {
  /** The first join; rejects when Kafka refuses us or the signal fires before. */
  readonly joined: Promise<void>;
  /** Settles after the signal fired and the last consumer has left. */
  readonly done: Promise<void>;
  /** Ends the consumer that runs now; another follows, unless the signal fired. Resolves when it has left. */
  end(error: CachewrightError): Promise<void>;
  /** Why the last one ended, as long as that is news; undefined when all is well. */
  fault(): CachewrightError | undefined;
}

/** Pauses between a crash and the next consumer; they begin anew after a consumer that ran for {@link CALM_MS}. */
const REBUILD: BackoffRule = { initialMs: 250, factor: 2, maxMs: 15_000, jitter: 0.2 };
const CALM_MS = 60_000;
/** A consumer that cannot leave (its broker is gone) is left behind: the group forgets it by the session's timeout. */
const LEAVE_MS = 20_000;
/**
 * The least from one fetch to the next of a consumer that has read all there is. A message that comes alone does not wait
 * for it; of a stream of single messages several share a job, whose cost is by job: without it 1,000 messages a second fill
 * two cores. Handing over a batch counts, but {@link REST_MS} is left in any case: a busy machine needs it most.
 */
const GATHER_MS = 3;
const REST_MS = 1;
/** How much longer than its pause a crash counts as news. */
const NEWS_MS = 5_000;

export function keepConsuming(
  kafka: Kafka,
  options: KafkaConsumerOptions,
  hooks: KafkaConsumerHooks,
  signal: AbortSignal,
): KeptConsumer {
  const { clock, log, groupId } = options;
  const joined = Promise.withResolvers<void>();
  let news: { readonly error: CachewrightError; readonly untilMs: number } | undefined;
  let run: { readonly end: (error: CachewrightError) => void; readonly left: Promise<void> } | undefined;

  const live = async (): Promise<void> => {
    for (let crashes = 1; !signal.aborted; crashes += 1) {
      const startedMs = clock.now();
      const ended = Promise.withResolvers<CachewrightError>();
      const left = Promise.withResolvers<void>();
      run = { end: ended.resolve, left: left.promise };
      const consumer = build(kafka, options, hooks, joined.resolve, ended.resolve);
      const error = await runToEnd(consumer, options, hooks, ended.promise);
      hooks.onLeft(error);
      await leave(consumer);
      left.resolve();
      if (signal.aborted) break;
      if (error.code === 'E_KAFKA_AUTH') joined.reject(error);
      if (clock.now() - startedMs > CALM_MS) crashes = 1;
      const waitMs = backoffMs(REBUILD, crashes, clock.random());
      news = { error, untilMs: clock.now() + 2 * waitMs + NEWS_MS };
      log.error(
        { code: error.code, crashes, waitMs: Math.round(waitMs) },
        `the consumer of group ${groupId} ended and is built anew: ${error.message}`,
      );
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
    joined.reject(fail('E_ABORTED', { reason: 'the source is closed' }));
  };
  // Only `start` waits for the first join; nobody may be waiting any more.
  joined.promise.catch(() => undefined);

  return {
    done: live(),
    joined: joined.promise,
    async end(error) {
      run?.end(error);
      await run?.left;
    },
    fault: () => (news !== undefined && clock.now() < news.untilMs ? news.error : undefined),
  };
}

function build(
  kafka: Kafka,
  options: KafkaConsumerOptions,
  hooks: KafkaConsumerHooks,
  joined: () => void,
  end: (error: CachewrightError) => void,
): Consumer {
  const consumer = kafka.consumer({
    groupId: options.groupId,
    sessionTimeout: options.sessionTimeoutMs ?? 10_000,
    // The whole group waits so long for a member that beats and does not join anew (kafkajs: a minute). Our handlers leave
    // at their next heartbeat; one that cannot is safely taken for dead: its mark does not move any more.
    rebalanceTimeout: options.sessionTimeoutMs ?? 10_000,
    heartbeatInterval: options.heartbeatMs ?? 2_000,
    maxBytesPerPartition: options.maxBytesPerPartition ?? 1_048_576,
    maxBytes: options.maxBytes ?? 10_485_760,
    maxWaitTimeInMs: options.maxWaitMs ?? 500,
    // A fetch is answered at the first new message: latency when idle; a backlog fills it anyway.
    minBytes: 1,
    allowAutoTopicCreation: false,
    // We build anew: kafkajs restarts after some errors only, and stays silent and dead after the others.
    retry: { restartOnFailure: () => Promise.resolve(false) },
  });
  const { GROUP_JOIN, CRASH, REBALANCING, END_BATCH_PROCESS } = consumer.events;
  consumer.on(GROUP_JOIN, ({ payload }) => {
    hooks.onJoin(consumer, payload.memberAssignment);
    joined();
  });
  consumer.on(REBALANCING, () => hooks.onLeft(fail('E_ABORTED', { reason: 'the group rebalances' })));
  consumer.on(CRASH, ({ payload }) => end(faultOf(options, payload.error)));
  consumer.on(END_BATCH_PROCESS, ({ payload: { topic, partition, batchSize, lastOffset } }) => {
    if (batchSize === 0) hooks.onEmptyBatch(topic, partition, lastOffset);
  });
  return consumer;
}

/** Resolves with what ended it. */
async function runToEnd(
  consumer: Consumer,
  options: KafkaConsumerOptions,
  hooks: KafkaConsumerHooks,
  ended: Promise<CachewrightError>,
): Promise<CachewrightError> {
  const { clock } = options;
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: options.concurrency ?? 8,
      async eachBatch(payload) {
        const sinceMs = clock.now();
        await hooks.onBatch(payload);
        if (payload.batch.offsetLag() !== '0') return;
        await clock.sleep(Math.max(REST_MS, GATHER_MS - (clock.now() - sinceMs)));
      },
    });
    return await ended;
  } catch (error) {
    return faultOf(options, error);
  }
}

function faultOf(options: KafkaConsumerOptions, error: unknown): CachewrightError {
  return kafkaFault(error, { brokers: describeBrokers(options), topics: options.topics.join(', ') });
}

async function leave(consumer: Consumer): Promise<void> {
  await within(
    consumer.disconnect().catch(() => undefined),
    LEAVE_MS,
  );
}
