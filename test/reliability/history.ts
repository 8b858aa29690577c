/**
 * What a run of the simulation or of the chaos suite writes down, for {@link checkInvariants}. Versions are in their text
 * form (`counter:42`, see `formatVersion`); times are epoch milliseconds of the run's own clock.
 */
import type { AuditRecord } from '../../src/core/trail.ts';

/** A state of the world that the source of truth once held, or a message asked for. */
export interface Truth {
  readonly key: string;
  /** '' when it has none (a delete that only says "gone"): then the order of the list decides. */
  readonly version: string;
  readonly op: 'upsert' | 'delete';
  /** The record's text where it is known; undefined: any text will do. */
  readonly text?: string | undefined;
  /** A delete that is not told its version: the fence keeps the one it had. */
  readonly keepsVersion?: boolean;
}

/** A message that the source acknowledged to its producer, in the order of the acknowledgements. */
export interface Acknowledged extends Truth {
  /** `cache-message-0@17`; with `#part` where a decoder makes several of it. */
  readonly message: string;
  /** Set where message ids come again, because the topic was made anew. */
  readonly epoch?: number;
}

/** What Redis holds under a key at the end; a key of the history that has no cell was not looked at. */
export interface FinalCell {
  readonly key: string;
  readonly text: string | null;
  /** The fence's text. */
  readonly fence: string | null;
}

/** What one instance would serve from its local tier at the end: only what its own rules still let it serve. */
export interface FinalLocal {
  readonly instance: string;
  readonly key: string;
  readonly version: string;
  readonly text: string;
}

/** One look of a reader that polls all through, in the order of the answers; what an instance marked as stale is none. */
export interface ReaderSample {
  /** `redis`, or the name of the instance that was asked. */
  readonly reader: string;
  readonly tier: 'local' | 'redis';
  readonly key: string;
  /** The version served; of a tombstone, where the reader can see it, with `isPresent: false`; '' unknown. */
  readonly version: string;
  readonly isPresent: boolean;
  /** When the answer came. */
  readonly atMs: number;
  /** When the look began; left out: at `atMs`. */
  readonly sinceMs?: number;
  /** Whether the instance knew all the while that it hears nothing of other instances' writes; left out: not known. */
  readonly isBlind?: boolean;
}

/** A write that the fence let through: the tier answered `set` or `evicted`. */
export interface AcceptedWrite {
  readonly key: string;
  /** '' for a delete that keeps the fence's version. */
  readonly version: string;
  readonly op: 'upsert' | 'delete';
  readonly message: string;
  readonly epoch: number;
  readonly atMs: number;
}

export interface OffsetSample {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  /** Next offset to read, as the group committed it; null: none. */
  readonly committed: string | null;
  /** Last offset enqueued as the mark has it; '' none; null: there is no mark. */
  readonly enqueued: string | null;
  readonly atMs: number;
}

/** Something that must not grow without end: memory, jobs or bytes of the queue, an outbox. */
export interface LevelSample {
  readonly what: string;
  readonly value: number;
  readonly bound: number;
  readonly atMs: number;
}

/** A fault the run was to meet, and how often it really did. */
export interface FaultFired {
  readonly fault: string;
  readonly fired: number;
}

/** A time in which Redis may know less than it did: from its rollback (or flush, or expiry) to the end of the repair. */
export interface RepairWindow {
  readonly fromMs: number;
  readonly toMs: number;
  readonly why: string;
}

export interface History {
  readonly acknowledged: readonly Acknowledged[];
  /** What the sources held over time, where services fetch; empty when every message carries its record. */
  readonly truth: readonly Truth[];
  readonly audit: readonly AuditRecord[];
  /** Message ids of all dead letters; undefined: not looked at. */
  readonly deadLetters: readonly string[] | undefined;
  readonly redis: readonly FinalCell[];
  readonly local: readonly FinalLocal[];
  readonly samples: readonly ReaderSample[];
  readonly accepted: readonly AcceptedWrite[];
  readonly offsets: readonly OffsetSample[];
  readonly levels: readonly LevelSample[];
  readonly faults: readonly FaultFired[];
  readonly repairs: readonly RepairWindow[];
  /** True where values or fences have a time to live: then a key may be gone at the end. */
  readonly mayExpire: boolean;
  /**
   * `atOnce`: every instance's local tier must agree with Redis. `withinTtl`: an instance may still serve what it had when
   * another one wrote; only the instance that ended the newest message must agree.
   */
  readonly localTiers: 'atOnce' | 'withinTtl';
  /** By how much an instance's answers may be behind Redis at most, milliseconds; left out: not looked at. */
  readonly coherenceMs?: number;
}

/** A history in which nothing happened: the ground for tests, and for suites that look at a part only. */
export const EMPTY_HISTORY: History = {
  acknowledged: [],
  truth: [],
  audit: [],
  deadLetters: undefined,
  redis: [],
  local: [],
  samples: [],
  accepted: [],
  offsets: [],
  levels: [],
  faults: [],
  repairs: [],
  mayExpire: false,
  localTiers: 'atOnce',
};
