/**
 * Enqueues messages of a topic once more, beside live ingest: over a consumer group of its own that commits nothing, and
 * without touching a mark. The messages keep their place (stream, epoch, offset), so the fence knows each for what it is:
 * one that was overtaken stays overtaken. Only the jobs have other ids, or the queue would ignore them (docs/adr/0007).
 */
import { type CachewrightError, fail } from '../core/errors.ts';
import type {
  ChangeSource,
  ChunkQueue,
  Clock,
  Log,
  Mark,
  MarkStore,
  SourceBatch,
  SourceRecord,
} from '../core/ports.ts';
import type { BackPressure } from './back-pressure.ts';
import { type ChunkLimits, cut } from './cut.ts';
import { paused, rest, untilDone, type WaitOptions } from './keep-alive.ts';
import { lengthOf, type ReplayRange } from './replay-plan.ts';
import { sizeOfRecord, toChunk } from './to-chunk.ts';

export interface ReplayOptions {
  /** Of a group of its own, not yet started; the replay starts and closes it. */
  readonly source: ChangeSource;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  /** The live group's marks: read, never moved. */
  readonly marks: Pick<MarkStore, 'read'>;
  /** The live group. */
  readonly groupId: string;
  readonly backPressure: BackPressure;
  readonly machine: string;
  readonly limits: ChunkLimits;
  /** Letters and digits; ends the ids of this replay's jobs. */
  readonly name: string;
  /** Messages a second over all partitions; 0: as fast as the queue has room. */
  readonly perSecond: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ReplayProgress {
  readonly topic: string;
  readonly partition: number;
  /** Next offset to enqueue: where a replay that is interrupted now would go on. */
  readonly next: string;
  /** Enqueued so far in this partition. */
  readonly messages: number;
}

export interface ReplayCall {
  readonly ranges: readonly ReplayRange[];
  /** Stops it between two chunks. */
  readonly signal: AbortSignal;
  /** After every enqueue; awaited, so that it may keep the place. */
  readonly onProgress: (progress: ReplayProgress) => void | Promise<void>;
  /** Told once for each pause. */
  readonly onWait: (reason: string) => void;
}

export interface ReplayReport {
  readonly end: 'done' | 'interrupted';
  readonly partitions: readonly ReplayProgress[];
}

/** How often it looks whether the ends are reached behind records that are none (transaction markers), milliseconds. */
const LOOK_MS = 250;
/** Looks after which it asks whether retention has removed what it waits for. */
const LOOKS_TO_RETENTION = 20;

/**
 * Runs until every range is enqueued, or the signal fires.
 *
 * @throws `E_REPLAY_STOPPED` when the log or its epoch is another than the one that was planned for
 */
export async function replay(options: ReplayOptions, call: ReplayCall): Promise<ReplayReport> {
  return new Replay(options, call).run();
}

class Part {
  readonly range: ReplayRange;
  next: bigint;
  messages = 0;
  /** Whether the source stands at `next`. */
  isPlaced = false;
  generation = -1;

  constructor(range: ReplayRange) {
    this.range = range;
    this.next = BigInt(range.from);
  }

  get isDone(): boolean {
    return this.next >= BigInt(this.range.end);
  }

  get progress(): ReplayProgress {
    const { topic, partition } = this.range;
    return { topic, partition, next: String(this.next), messages: this.messages };
  }
}

class Replay {
  readonly #options: ReplayOptions;
  readonly #call: ReplayCall;
  readonly #parts: ReadonlyMap<string, Part>;
  readonly #stopped = new AbortController();
  #fault: CachewrightError | undefined;
  /** When the next chunk may go, by the rate. */
  #dueMs = 0;

  constructor(options: ReplayOptions, call: ReplayCall) {
    this.#options = options;
    this.#call = call;
    this.#parts = new Map(
      call.ranges.map((range) => [placeOf(range.topic, range.partition), new Part(range)]),
    );
  }

  async run(): Promise<ReplayReport> {
    const { source, clock } = this.#options;
    const signal = AbortSignal.any([this.#call.signal, this.#stopped.signal]);
    const onAbort = (): void => void source.close();
    if (this.#call.ranges.some((range) => lengthOf(range) > 0) && !signal.aborted) {
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        await source.start((batch) => this.#handle(batch));
        for (let looks = 1; !signal.aborted && !this.#isDone(); looks += 1) {
          await clock.sleep(LOOK_MS, signal).catch(() => undefined);
          if (looks % LOOKS_TO_RETENTION === 0) await this.#passExpired().catch(() => undefined);
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        signal.removeEventListener('abort', onAbort);
        await source.close();
      }
    }
    if (this.#fault !== undefined) throw this.#fault;
    const partitions = [...this.#parts.values()];
    return {
      end: partitions.every(({ isDone }) => isDone) ? 'done' : 'interrupted',
      partitions: partitions.map(({ progress }) => progress),
    };
  }

  #isDone(): boolean {
    for (const { topic, partition, resolved } of this.#options.source.positions()) {
      const part = this.#parts.get(placeOf(topic, partition));
      // Behind the last message there may be records that are none; the source passes them by itself.
      if (part?.isPlaced === true && resolved !== '' && BigInt(resolved) >= BigInt(part.range.end)) {
        part.next = BigInt(part.range.end);
      }
    }
    return [...this.#parts.values()].every(({ isDone }) => isDone);
  }

  /** Of a log that retention emptied no message comes any more. */
  async #passExpired(): Promise<void> {
    for (const part of this.#parts.values()) {
      const { topic, partition, end } = part.range;
      if (part.isDone) continue;
      const { low } = await this.#options.source.partition(topic, partition).bounds();
      if (BigInt(low) >= BigInt(end)) part.next = BigInt(end);
    }
  }

  async #handle(batch: SourceBatch): Promise<void> {
    const part = this.#parts.get(placeOf(batch.topic, batch.partition));
    if (part === undefined || part.isDone) {
      // The rest of the topic is live ingest's.
      batch.pause();
      return;
    }
    const first = batch.records[0];
    if (first === undefined) return;
    if (part.generation !== batch.generation) {
      part.isPlaced = false;
      const bounds = await untilDone(batch, 'asking for the log', () => batch.bounds(), this.#waits(batch));
      if (bounds.logId !== part.range.logId) throw this.#stop(part, 'the topic was made anew');
      part.generation = batch.generation;
    }
    if (BigInt(first.offset) !== part.next && !part.isPlaced) {
      part.isPlaced = true;
      return batch.seek(String(part.next));
    }
    part.isPlaced = true;
    await this.#enqueueAll(batch, part);
    if (part.isDone) batch.pause();
  }

  async #enqueueAll(batch: SourceBatch, part: Part): Promise<void> {
    const end = BigInt(part.range.end);
    const records = batch.records.filter(({ offset }) => BigInt(offset) >= part.next && BigInt(offset) < end);
    for (const chunk of cut(records, sizeOfRecord, this.#limits())) {
      await this.#enqueue(batch, part, chunk);
      await batch.heartbeat();
    }
    const last = batch.records.at(-1)?.offset ?? '0';
    if (BigInt(last) + 1n >= end) part.next = end;
    batch.resolve(last);
  }

  async #enqueue(batch: SourceBatch, part: Part, records: readonly SourceRecord[]): Promise<void> {
    const { queue, machine, groupId, name } = this.#options;
    const { topic, partition, epoch } = part.range;
    const waits = this.#waits(batch);
    await this.#waitForTurn(batch, records.length);
    await this.#waitForRoom(batch, waits);
    const mark = await untilDone(batch, 'reading the mark', () => this.#markOf(part), waits);
    // A new epoch means that positions are counted anew: what is left of this plan has no place in it.
    if (mark?.epoch !== epoch) throw this.#stop(part, 'ingest began a new epoch of it');
    const chunk = toChunk(records, { group: groupId, topic, partition, epoch, replay: name }, machine);
    await untilDone(batch, 'enqueueing', () => queue.enqueue([chunk]), waits);
    part.next = BigInt(records.at(-1)?.offset ?? '0') + 1n;
    part.messages += records.length;
    await this.#call.onProgress(part.progress);
  }

  #markOf({ range: { topic, partition } }: Part): Promise<Mark | null> {
    const { marks, source, groupId } = this.#options;
    return marks.read({ clusterId: source.clusterId, groupId, topic, partition });
  }

  #stop({ range: { topic, partition } }: Part, reason: string): CachewrightError {
    this.#fault = fail('E_REPLAY_STOPPED', { topic, partition, reason });
    this.#stopped.abort(this.#fault);
    return this.#fault;
  }

  #limits(): ChunkLimits {
    const { limits, perSecond } = this.#options;
    if (perSecond === 0) return limits;
    return { ...limits, maxChunkMessages: Math.min(limits.maxChunkMessages, Math.max(1, perSecond)) };
  }

  /** Spreads the chunks of all partitions over time. */
  async #waitForTurn(batch: SourceBatch, messages: number): Promise<void> {
    const { clock, perSecond } = this.#options;
    if (perSecond === 0) return;
    const nowMs = clock.now();
    const startMs = Math.max(nowMs, this.#dueMs);
    this.#dueMs = startMs + (messages * 1_000) / perSecond;
    await rest(batch, clock, startMs - nowMs);
  }

  async #waitForRoom(batch: SourceBatch, waits: WaitOptions): Promise<void> {
    const { backPressure, clock } = this.#options;
    const reason = await backPressure.reason();
    if (reason === '') return;
    await paused(batch, reason, waits, async () => {
      do await rest(batch, clock, LOOK_MS);
      while ((await backPressure.reason()) !== '');
    });
  }

  #waits({ topic, partition }: SourceBatch): WaitOptions {
    const { clock, log } = this.#options;
    return {
      clock,
      log,
      onWaiting: (reason) => this.#call.onWait(reason),
      onResumed: (waitedMs) => log.debug({ topic, partition, waitedMs }, 'replay resumed'),
    };
  }
}

function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
