/**
 * Kafka behind the port `ChangeSource`, by kafkajs (no longer maintained: facts about it are told where they matter).
 * One loop keeps a consumer alive: build, run, and when it crashed, build another after a pause.
 */
import { type Consumer, type EachBatchPayload, type Kafka, KafkaJSError } from 'kafkajs';
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError, type CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { BatchHandler, ChangeSource, Clock, SourcePartition, SourcePosition } from '../core/ports.ts';
import { toSourceBatch } from './kafka-batch.ts';
import {
  createKafkaClient,
  describeBrokers,
  type KafkaConnectionOptions,
  kafkaFault,
} from './kafka-connection.ts';
import { createKafkaInspector, type KafkaInspector } from './kafka-inspector.ts';
import { KafkaPauses } from './kafka-pauses.ts';

export interface KafkaSourceOptions extends KafkaConnectionOptions {
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
  readonly clock: Clock;
}

/** Pauses between a crash and the next consumer; over after {@link CALM_MS} without one. */
const REBUILD: BackoffRule = { initialMs: 250, factor: 2, maxMs: 15_000, jitter: 0.2 };
/** Pauses before a batch whose handling failed is offered again. */
const OFFER_AGAIN: BackoffRule = { initialMs: 250, factor: 2, maxMs: 10_000, jitter: 0.2 };
const CALM_MS = 60_000;
const CLOSE_MS = 20_000;
/** kafkajs tells of a lost place by this line only. */
const RESET_LINE = 'Offset out of range, resetting to default offset';

/** Makes the source; nothing happens before `start`. */
export function createKafkaSource(options: KafkaSourceOptions): ChangeSource {
  return new KafkaSource(options);
}

class KafkaSource implements ChangeSource {
  clusterId = '';
  readonly groupId: string;
  readonly #options: KafkaSourceOptions;
  readonly #pauses = new KafkaPauses();
  readonly #resolved = new Map<string, string>();
  readonly #failures = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  readonly #closed = new AbortController();
  #kafka: Kafka | undefined;
  #inspector: KafkaInspector | undefined;
  #consumer: Consumer | undefined;
  #handler: BatchHandler = () => Promise.resolve();
  #generation = 0;
  /** Aborted when the generation is over. */
  #tenure = new AbortController();
  #assigned: readonly { readonly topic: string; readonly partitions: readonly number[] }[] = [];
  /** Settles when the cluster's id was asked in this generation. */
  #identified: Promise<void> = Promise.resolve();
  /** Ends the consumer that runs now. */
  #end: (error: CachewrightError) => void = () => undefined;
  #fault = { error: undefined as CachewrightError | undefined, untilMs: 0 };
  #living: Promise<void> = Promise.resolve();

  constructor(options: KafkaSourceOptions) {
    this.#options = options;
    this.groupId = options.groupId;
  }

  async start(handler: BatchHandler): Promise<void> {
    this.#handler = handler;
    this.#kafka = createKafkaClient(this.#options, (message) => {
      // The log is not what it was: mark and commit are to be compared as after a rebalance.
      if (message === RESET_LINE) this.#generation += 1;
    });
    this.#inspector = createKafkaInspector(this.#kafka, this.#options);
    await this.#inspector.connect(this.#closed.signal);
    await this.#inspector.requireTopics(this.#options.topics);
    this.clusterId = await this.#inspector.clusterId();
    const joined = Promise.withResolvers<void>();
    this.#living = this.#live(joined);
    await joined.promise;
  }

  assignments() {
    return this.#assigned;
  }

  onAssigned(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  positions(): SourcePosition[] {
    return this.#assigned.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({
        topic,
        partition,
        resolved: this.#resolved.get(placeOf(topic, partition)) ?? '',
        isPaused: this.#pauses.isPaused(topic, partition),
      })),
    );
  }

  partition(topic: string, partition: number): SourcePartition {
    const generation = this.#generation;
    return {
      generation,
      committed: () => this.#ask().committed(topic, partition, generation),
      bounds: () => this.#ask().bounds(topic, partition, generation),
      seek: (offset) => {
        if (this.#generation !== generation) return; // the partition may be another's by now
        this.#resolved.set(placeOf(topic, partition), offset);
        this.#consumer?.seek({ topic, partition, offset });
      },
      pause: () => this.#pauses.pause(topic, partition),
    };
  }

  async restart(reason: string): Promise<void> {
    const before = this.#consumer;
    this.#end(fail('E_ABORTED', { reason }));
    await within(disconnect(before), CLOSE_MS);
  }

  isHealthy() {
    const { error, untilMs } = this.#fault;
    if (error !== undefined && this.#options.clock.now() < untilMs)
      return { healthy: false, reason: `${error.code}: ${error.message}` };
    return this.#assigned.length > 0 || this.#generation > 0
      ? { healthy: true, reason: '' }
      : { healthy: false, reason: `joining the group ${this.groupId}` };
  }

  async close(): Promise<void> {
    const aborted = fail('E_ABORTED', { reason: 'the source is closed' });
    this.#closed.abort(aborted);
    this.#tenure.abort(aborted);
    this.#end(aborted);
    await within(this.#living, CLOSE_MS);
    if (this.#inspector !== undefined) await within(this.#inspector.close(), CLOSE_MS);
  }

  #ask(): KafkaInspector {
    if (this.#inspector === undefined)
      throw fail('E_UNEXPECTED', { what: 'the source was asked before it was started' });
    return this.#inspector;
  }

  /** Consumer after consumer, until the source closes. The first join settles `joined`; so does a refusal before it. */
  async #live(joined: PromiseWithResolvers<void>): Promise<void> {
    const { clock, log } = this.#options;
    for (let crashes = 1; !this.#closed.signal.aborted; crashes += 1) {
      const startedMs = clock.now();
      const error = await this.#runOne(joined);
      this.#assigned = [];
      this.#tenure.abort(error);
      if (this.#closed.signal.aborted) break;
      if (clock.now() - startedMs > CALM_MS) crashes = 1;
      const waitMs = backoffMs(REBUILD, crashes, clock.random());
      this.#fault = { error, untilMs: clock.now() + waitMs * 2 + 5_000 };
      log.error(
        { code: error.code, crashes, waitMs },
        `the consumer of group ${this.groupId} ended and is built anew: ${error.message}`,
      );
      if (error.outcome === 'refuse' && error.code === 'E_KAFKA_AUTH') joined.reject(error);
      await clock.sleep(waitMs, this.#closed.signal).catch(() => undefined);
    }
    joined.reject(fail('E_ABORTED', { reason: 'the source is closed' }));
  }

  /** Runs one consumer to its end and says why it ended. */
  async #runOne(joined: PromiseWithResolvers<void>): Promise<CachewrightError> {
    const ended = Promise.withResolvers<CachewrightError>();
    this.#end = ended.resolve;
    let consumer: Consumer | undefined;
    try {
      consumer = this.#build(joined, ended.resolve);
      await consumer.connect();
      await consumer.subscribe({ topics: [...this.#options.topics], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: this.#options.concurrency ?? 8,
        eachBatch: (payload) => this.#onBatch(payload),
      });
      return await ended.promise;
    } catch (error) {
      return this.#faultOf(error);
    } finally {
      this.#end = () => undefined;
      this.#consumer = undefined;
      await within(disconnect(consumer), CLOSE_MS);
    }
  }

  #build(joined: PromiseWithResolvers<void>, end: (error: CachewrightError) => void): Consumer {
    const {
      sessionTimeoutMs = 10_000,
      heartbeatMs = 2_000,
      maxBytesPerPartition = 1_048_576,
      maxBytes = 10_485_760,
      maxWaitMs = 500,
    } = this.#options;
    if (this.#kafka === undefined) throw fail('E_UNEXPECTED', { what: 'the source was not started' });
    const consumer = this.#kafka.consumer({
      groupId: this.groupId,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: heartbeatMs,
      maxBytesPerPartition,
      maxBytes,
      maxWaitTimeInMs: maxWaitMs,
      minBytes: 1,
      allowAutoTopicCreation: false,
      // We restart: kafkajs does not for every kind of error, and tells nobody.
      retry: {
        initialRetryTime: 200,
        maxRetryTime: 5_000,
        retries: 5,
        restartOnFailure: () => Promise.resolve(false),
      },
    });
    const { GROUP_JOIN, CRASH, REBALANCING, END_BATCH_PROCESS } = consumer.events;
    consumer.on(GROUP_JOIN, ({ payload }) => {
      this.#onJoin(consumer, payload.memberAssignment);
      joined.resolve();
    });
    consumer.on(REBALANCING, () => this.#tenure.abort(fail('E_ABORTED', { reason: 'the group rebalances' })));
    consumer.on(CRASH, ({ payload }) => end(this.#faultOf(payload.error)));
    consumer.on(END_BATCH_PROCESS, ({ payload: { topic, partition, batchSize, lastOffset } }) => {
      // Only control or aborted records: kafkajs resolves them by itself and calls no handler.
      if (batchSize === 0) this.#resolved.set(placeOf(topic, partition), String(BigInt(lastOffset) + 1n));
    });
    return consumer;
  }

  /** kafkajs calls this before the first fetch of a generation, and does not await it: what must come first is synchronous. */
  #onJoin(consumer: Consumer, assignment: Readonly<Record<string, number[]>>): void {
    this.#consumer = consumer;
    this.#generation += 1;
    this.#tenure.abort(fail('E_ABORTED', { reason: 'the group rebalanced' }));
    this.#tenure = new AbortController();
    this.#assigned = Object.entries(assignment).map(([topic, partitions]) => ({ topic, partitions }));
    this.#resolved.clear();
    this.#failures.clear();
    this.#pauses.attach(consumer);
    this.#identified = this.#identify();
  }

  /** The address may lead to another cluster than before. */
  async #identify(): Promise<void> {
    const { clock, log } = this.#options;
    const generation = this.#generation;
    while (generation === this.#generation && !this.#closed.signal.aborted) {
      try {
        this.clusterId = await this.#ask().clusterId();
        for (const listener of this.#listeners) listener();
        return;
      } catch (error) {
        log.warn({ err: reasonOf(error) }, "the cluster's id could not be asked; trying again");
        await clock.sleep(1_000, this.#closed.signal).catch(() => undefined);
      }
    }
  }

  /** Nothing but kafkajs's own errors may leave: a TypeError of a handler would stop the consumer for good. */
  async #onBatch(payload: EachBatchPayload): Promise<void> {
    const { topic, partition } = payload.batch;
    const place = placeOf(topic, partition);
    const tenure = this.#tenure;
    try {
      await this.#identified;
      const look = this.partition(topic, partition);
      const onLost = (error: unknown): void => {
        if (error instanceof KafkaJSError)
          tenure.abort(fail('E_ABORTED', { reason: `the membership is in doubt: ${error.message}` }));
      };
      const onCommitted = (next: string): void => void this.#resolved.set(place, next);
      await this.#handler(toSourceBatch(payload, { look, signal: tenure.signal, onLost, onCommitted }));
      this.#failures.delete(place);
    } catch (error) {
      if (error instanceof KafkaJSError) throw error;
      if (!tenure.signal.aborted) this.#offerAgainLater(topic, partition, error);
    }
  }

  #offerAgainLater(topic: string, partition: number, error: unknown): void {
    const { clock, log } = this.#options;
    const place = placeOf(topic, partition);
    const failures = (this.#failures.get(place) ?? 0) + 1;
    this.#failures.set(place, failures);
    const waitMs = backoffMs(OFFER_AGAIN, failures, clock.random());
    const { code, message } = asError(error);
    log.error(
      { topic, partition, code, failures, waitMs },
      `a batch could not be handled and is offered again: ${message}`,
    );
    const resume = this.#pauses.pause(topic, partition);
    void clock
      .sleep(waitMs, this.#closed.signal)
      .catch(() => undefined)
      .then(resume);
  }

  #faultOf(error: unknown): CachewrightError {
    return kafkaFault(error, {
      brokers: describeBrokers(this.#options),
      topics: this.#options.topics.join(', '),
    });
  }
}

function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

async function disconnect(consumer: Consumer | undefined): Promise<void> {
  // A broken connection cannot be taken leave of; the group notices by the session's timeout.
  await consumer?.disconnect().catch(() => undefined);
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
}
