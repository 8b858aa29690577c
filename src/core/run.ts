import { type Message, messageId } from './change.ts';
import type { CachewrightError } from './errors.ts';
import type { LocalEntry } from './ports.ts';
import type { Change, Version } from './service.ts';
import type { Trail } from './trail.ts';

/** A record on its way to the tiers: its text byte for byte as it will be stored, and its version. */
export interface FreshRecord {
  readonly text: string;
  readonly version: Version;
}

const NONE: readonly Run[] = [];

/**
 * One message (or one change of a message that a decoder split) travelling through the machine. Mutable on purpose: a
 * busy worker moves tens of thousands a second, and only the executor and the effects, in turn, touch it.
 */
export class Run {
  readonly message: Message;
  /** Index of the message in its chunk. */
  readonly index: number;
  /** Which of the message's changes; 0 unless a decoder returned several. */
  readonly part: number;
  state: string;
  trail: Trail;
  /** Failed attempts so far, over all executions. */
  attempts: number;
  /** When it first failed or waited, epoch milliseconds; 0: never. */
  sinceMs: number;
  /** Known from `parsed` on. */
  change: Change | undefined = undefined;
  /** Known from `fetched` on. */
  record: FreshRecord | undefined = undefined;
  /** What the local tier holds of it provisionally; known from `localCached` on. */
  localEntry: LocalEntry | undefined = undefined;
  /** The fence's text when it was looked at before the fetch; null: there was none; undefined: not looked at. */
  seenFence: string | null | undefined = undefined;
  /** Why it ended, or waits. */
  error: CachewrightError | undefined = undefined;
  /** Message id of the run that won over this one. */
  supersededBy = '';
  /** Something a reader of the trail should know: a tie, an unfenced overwrite. */
  note = '';
  /** Set while it waits for a later execution, epoch milliseconds. */
  dueMs = 0;
  /** Names the execution; its provisional local entries carry it. */
  token = '';
  /** Further changes of the same message, when a decoder found several: they set out together. */
  siblings: readonly Run[] = NONE;
  /** True while it waits without using an attempt (open breaker, rate limit). */
  waitsFree = false;

  constructor(
    message: Message,
    index: number,
    part: number,
    state: string,
    root: Trail,
    attempts = 0,
    sinceMs = 0,
  ) {
    this.message = message;
    this.index = index;
    this.part = part;
    this.state = state;
    this.trail = root;
    this.attempts = attempts;
    this.sinceMs = sinceMs;
  }

  /** The printable message id. */
  get id(): string {
    return messageId(this.message.origin, this.part);
  }

  /** Its place in the chunk, as {@link ChunkData.waiting} names it. */
  get place(): string {
    return this.part === 0 ? String(this.index) : `${this.index}#${this.part}`;
  }
}
