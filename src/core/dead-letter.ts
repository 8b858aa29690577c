/**
 * Dead letters: what names them, what is asked of them, and what the office that keeps them can do.
 */
import { type Origin, messageId } from './change.ts';
import type { DeadLetter } from './ports.ts';

/** Bumped when the layout of {@link DeadLetter} changes. Since 2 a letter knows its stage, and settlements stand among letters. */
export const DEAD_LETTER_FORMAT = 2;

/**
 * What a closing leaves beside new letters: those whose redriven run is final now. It travels in the same outbox, behind
 * the letter a failed run has left, so that at no time a message has none.
 */
export interface Settlement {
  readonly format: number;
  /** Ids of letters, see {@link letterId}. */
  readonly settled: readonly string[];
}

/** Id of a letter: the message, its epoch and redrive; never a `:` (BullMQ forbids it). */
export function letterId(letter: Pick<DeadLetter, 'message' | 'origin' | 'redrive'>): string {
  return `${letter.message.replaceAll(':', '_')}.${letter.origin.epoch}.${letter.redrive}`;
}

/** Which of its message's changes a letter is about: 0 unless a decoder found several. */
export function partOf({ message, origin }: Pick<DeadLetter, 'message' | 'origin'>): number {
  const whole = messageId(origin);
  return message.length > whole.length ? Number(message.slice(whole.length + 1)) : 0;
}

const KAFKA_STREAM = /^([A-Za-z0-9._-]+)-(\d+)$/;

/** Topic and partition of a Kafka stream; undefined for posted changes and files. */
export function kafkaPlaceOf({
  stream,
}: Pick<Origin, 'stream'>): { readonly topic: string; readonly partition: string } | undefined {
  const [, topic, partition] = KAFKA_STREAM.exec(stream) ?? [];
  return topic === undefined || partition === undefined ? undefined : { topic, partition };
}

/**
 * The Kafka topic a letter is delivered to; undefined: none, since its message did not come from Kafka and the pattern
 * asks for its topic.
 *
 * @param pattern a topic's name, in which `{topic}` stands for that of the message
 */
export function deadLetterTopicOf(pattern: string, origin: Pick<Origin, 'stream'>): string | undefined {
  if (!pattern.includes('{topic}')) return pattern;
  const place = kafkaPlaceOf(origin);
  return place === undefined ? undefined : pattern.replaceAll('{topic}', place.topic);
}

/** Which letters are meant. What is left out does not narrow. */
export interface LetterSelection {
  /** A message id; one without a part means all parts. */
  readonly message?: string;
  readonly service?: string;
  /** The record's id. */
  readonly id?: string;
  /** Code of the error it died of: the error group. */
  readonly code?: string;
  /** Died at or after this, epoch milliseconds. */
  readonly sinceMs?: number;
  /** Died at or before this, epoch milliseconds. */
  readonly untilMs?: number;
}

/** A redrive that is under way, as the letter remembers it. */
export interface Redriving {
  readonly job: string;
  readonly by: string;
  readonly atMs: number;
}

/** A letter without its bytes, as lists show it. */
export type LetterHead = Omit<DeadLetter, 'key' | 'value' | 'headers'> & {
  readonly letter: string;
  /** Bytes of key, value and headers, about. */
  readonly bytes: number;
  /** null: nobody has asked for it. */
  readonly redriving: Redriving | null;
};

/** Letters that died of the same. */
export interface LetterGroup {
  readonly service: string;
  readonly code: string;
  readonly count: number;
  readonly oldestMs: number;
  readonly newestMs: number;
}

export interface LetterList {
  /** All that were selected. */
  readonly total: number;
  readonly groups: readonly LetterGroup[];
  /** The oldest, as many as were asked for. */
  readonly letters: readonly LetterHead[];
}

/** Who acts, and why: kept in the audit. */
export interface Authorship {
  readonly by: string;
  readonly reason: string;
}

export interface RedriveOptions extends Authorship {
  /** Also letters at the limit of redrives, and those whose redrive is still under way. */
  readonly force: boolean;
  /** Messages a second; 0: as fast as they can be enqueued. */
  readonly perSecond: number;
  /** At most this many letters, the oldest. */
  readonly limit: number;
  /** Ends after the chunk in hand; what was redriven stays so. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a redrive has done, or would do. */
export interface RedriveReport {
  readonly selected: number;
  readonly redriven: number;
  /** Left alone: their redrive is under way. */
  readonly underWay: number;
  /** Left alone: redriven as often as is allowed. */
  readonly atLimit: number;
  /** Left alone: gone meanwhile. */
  readonly gone: number;
  /** Left for another call: beyond `limit`, or after an interrupt. */
  readonly remaining: number;
  readonly isInterrupted: boolean;
}

/** What would become of a letter. */
export interface Forecast {
  readonly message: string;
  readonly letter: string;
  readonly service: string;
  readonly recordId: string;
  readonly key: string;
  /** How often it would have been redriven then. */
  readonly redrive: number;
  /**
   * The final state it would end in. `gaveUp`: the source fails now; in earnest it is retried first. `waits`: the source is
   * not asked now (breaker, rate limit). `untried`: it killed its workers, and is not walked outside of one.
   */
  readonly state: string;
  readonly supersededBy: string;
  /** `kind:digits` of what would be written or is refused; '' for none. */
  readonly version: string;
  /** Code of the error; '' without one. */
  readonly code: string;
}

export interface Rehearsal extends RedriveReport {
  /** State → letters. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly forecasts: readonly Forecast[];
}

export interface DiscardReport {
  readonly selected: number;
  readonly discarded: number;
  /** Left alone: their redrive is under way. */
  readonly underWay: number;
  readonly gone: number;
  readonly remaining: number;
}

/** Where dead letters are looked at, redriven and discarded; the same for the command and for HTTP. */
export interface DeadLetterOffice {
  list(selection: LetterSelection, limit: number): Promise<LetterList>;
  /** Whole letters with their bytes, oldest first. */
  show(message: string): Promise<readonly DeadLetter[]>;
  /** What a redrive would do: reads the sources and the fences, writes nothing. */
  rehearse(
    selection: LetterSelection,
    options: Pick<RedriveOptions, 'force' | 'limit' | 'perSecond' | 'onProgress'>,
  ): Promise<Rehearsal>;
  /**
   * Enqueues the original messages again. Each letter stays until its new run is final.
   *
   * @throws `E_REDRIVE_LIMIT` when every selected letter is at its limit, `E_ENQUEUE_FAILED`: run it again
   */
  redrive(selection: LetterSelection, options: RedriveOptions): Promise<RedriveReport>;
  discard(
    selection: LetterSelection,
    options: Authorship & Pick<RedriveOptions, 'force' | 'limit'>,
  ): Promise<DiscardReport>;
  close(): Promise<void>;
}
