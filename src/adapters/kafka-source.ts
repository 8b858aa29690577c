/**
 * Kafka behind the port `ChangeSource`, by kafkajs. kafkajs is no longer maintained: what it does that one would not
 * expect is said where it matters, here and in its neighbours.
 */
import kafkajs, { type Consumer, type EachBatchPayload } from 'kafkajs';
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError, type CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { BatchHandler, ChangeSource, SourcePartition, SourcePosition } from '../core/ports.ts';
import { toSourceBatch } from './kafka-batch.ts';
import { createKafkaClient } from './kafka-connection.ts';
import { keepConsuming, type KafkaConsumerOptions, type KeptConsumer } from './kafka-consumer.ts';
import { createKafkaInspector, type KafkaInspector } from './kafka-inspector.ts';
import { KafkaPauses } from './kafka-pauses.ts';

// Node sees only some of kafkajs's CommonJS exports by name; the rest come through its default export.
const { KafkaJSError } = kafkajs;

export type KafkaSourceOptions = KafkaConsumerOptions;

/** Pauses before a batch whose handling failed is offered again. */
const OFFER_AGAIN: BackoffRule = { initialMs: 250, factor: 2, maxMs: 10_000, jitter: 0.2 };
/**
 * kafkajs tells by log lines only that it lost its place, and that a topic was gone for a moment. If the topic is there
 * again when it asks the next time, it goes on at the old offset in the new log, without a rebalance.
 */
const DOUBT_LINES = ['Offset out of range', 'Response Fetch(', 'Response Metadata('] as const;
const ASK_AGAIN_MS = 1_000;

/** Makes the source; nothing happens before `start`. */
export function createKafkaSource(options: KafkaSourceOptions): ChangeSource {
  return new KafkaSource(options);
}

class KafkaSource implements ChangeSource {
  clusterId = '';
  readonly groupId: string;
  readonly #options: KafkaSourceOptions;
  readonly #pauses = new KafkaPauses();
  readonly #listeners = new Set<() => void>();
  readonly #closed = new AbortController();
  /** Next offsets, by place. */
  readonly #resolved = new Map<string, string>();
  /** Failed handlings in a row, by place. */
  readonly #failures = new Map<string, number>();
  #inspector: KafkaInspector | undefined;
  #kept: KeptConsumer | undefined;
  #consumer: Consumer | undefined;
  #handler: BatchHandler = () => Promise.resolve();
  #generation = 0;
  #topicIds = '';
  /** Aborted when the generation is over. */
  #tenure = new AbortController();
  #assigned: readonly { readonly topic: string; readonly partitions: readonly number[] }[] = [];
  /** Settles when the cluster's id was asked in this generation. */
  #identified: Promise<void> = Promise.resolve();

  constructor(options: KafkaSourceOptions) {
    this.#options = options;
    this.groupId = options.groupId;
  }

  async start(handler: BatchHandler): Promise<void> {
    this.#handler = handler;
    const kafka = createKafkaClient(this.#options, (message) => {
      // Mark and commit are to be compared as after a rebalance.
      if (DOUBT_LINES.some((line) => message.startsWith(line))) this.#generation += 1;
    });
    this.#inspector = createKafkaInspector(kafka, this.#options);
    await this.#inspector.connect(this.#closed.signal);
    await this.#inspector.requireTopics(this.#options.topics);
    const hooks = {
      onJoin: (consumer: Consumer, assignment: Readonly<Record<string, readonly number[]>>) =>
        this.#onJoin(consumer, assignment),
      onLeft: (error: CachewrightError) => this.#onLeft(error),
      onBatch: (payload: EachBatchPayload) => this.#onBatch(payload),
      onEmptyBatch: (topic: string, partition: number, lastOffset: string) =>
        void this.#resolved.set(placeOf(topic, partition), String(BigInt(lastOffset) + 1n)),
    };
    this.#kept = keepConsuming(kafka, this.#options, hooks, this.#closed.signal);
    await this.#kept.joined;
    await this.#identified;
    void this.#watchIdentity();
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
    await this.#kept?.end(fail('E_ABORTED', { reason }));
  }

  isHealthy() {
    const fault = this.#kept?.fault();
    if (fault !== undefined) return { healthy: false, reason: `${fault.code}: ${fault.message}` };
    if (this.#consumer === undefined)
      return { healthy: false, reason: `not a member of group ${this.groupId} yet` };
    return { healthy: true, reason: '' };
  }

  async close(): Promise<void> {
    const error = fail('E_ABORTED', { reason: 'the source is closed' });
    this.#closed.abort(error);
    this.#tenure.abort(error);
    await this.#kept?.end(error);
    await this.#kept?.done;
    await this.#inspector?.close().catch(() => undefined);
  }

  #ask(): KafkaInspector {
    if (this.#inspector === undefined)
      throw fail('E_UNEXPECTED', { what: 'the source was asked before it was started' });
    return this.#inspector;
  }

  #onJoin(consumer: Consumer, assignment: Readonly<Record<string, readonly number[]>>): void {
    this.#onLeft(fail('E_ABORTED', { reason: 'the group rebalanced' }));
    this.#consumer = consumer;
    this.#generation += 1;
    this.#tenure = new AbortController();
    if (this.#closed.signal.aborted) this.#tenure.abort(this.#closed.signal.reason);
    this.#assigned = Object.entries(assignment).map(([topic, partitions]) => ({ topic, partitions }));
    this.#pauses.attach(consumer);
    this.#identified = this.#identify();
  }

  #onLeft(error: CachewrightError): void {
    this.#tenure.abort(error);
    this.#consumer = undefined;
    this.#assigned = [];
    this.#resolved.clear();
    this.#failures.clear();
  }

  /** Asks who the cluster and its topics are: the address may lead to another cluster than before, a name to another log. */
  async #identify(): Promise<void> {
    const { clock, log } = this.#options;
    const assigned = this.#assigned;
    while (assigned === this.#assigned && !this.#closed.signal.aborted) {
      try {
        await this.#compareIdentity(true);
        return;
      } catch (error) {
        log.warn({ err: reasonOf(error) }, "the cluster's id could not be asked; trying again");
        await clock.sleep(ASK_AGAIN_MS, this.#closed.signal).catch(() => undefined);
      }
    }
  }

  async #compareIdentity(isNew: boolean): Promise<void> {
    const { clusterId, topics } = await this.#ask().identity(this.#options.topics);
    const isOther = this.#topicIds !== topics || this.clusterId !== clusterId;
    this.clusterId = clusterId;
    this.#topicIds = topics;
    if (!isNew && isOther) this.#generation += 1;
    if (isNew || isOther) for (const listener of this.#listeners) listener();
  }

  async #watchIdentity(): Promise<void> {
    const { clock, log, identityMs = 30_000 } = this.#options;
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await clock.sleep(identityMs, signal).catch(() => undefined);
      if (signal.aborted || this.#consumer === undefined) continue;
      await this.#compareIdentity(false).catch((error: unknown) => {
        log.debug({ err: reasonOf(error) }, 'the ids of the cluster and its topics could not be asked');
      });
    }
  }

  /** Nothing but kafkajs's own errors may leave: a TypeError of a handler would stop the consumer for good. */
  async #onBatch(payload: EachBatchPayload): Promise<void> {
    const { topic, partition } = payload.batch;
    const place = placeOf(topic, partition);
    // Doubts ended the waits, but kafkajs went on as a member.
    if (this.#tenure.signal.aborted && !this.#closed.signal.aborted) this.#tenure = new AbortController();
    const [tenure, assigned] = [this.#tenure, this.#assigned];
    try {
      await this.#identified;
      const batch = toSourceBatch(payload, {
        look: this.partition(topic, partition),
        signal: tenure.signal,
        isMember: () => this.#assigned === assigned,
        // Ends the waits of the other partitions' handlers: the group waits for all of them before it goes on.
        onLost: (error) =>
          tenure.abort(fail('E_ABORTED', { reason: `the membership is in doubt: ${reasonOf(error)}` })),
        onCommitted: (next) => void this.#resolved.set(place, next),
      });
      await this.#handler(batch);
      this.#failures.delete(place);
    } catch (error) {
      if (error instanceof KafkaJSError) throw error;
      if (!tenure.signal.aborted) this.#offerAgainLater(topic, partition, error);
    }
  }

  /** What was not resolved is fetched again by itself. */
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
      .sleep(waitMs, this.#tenure.signal)
      .catch(() => undefined)
      .then(resume);
  }
}

function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
