import { formatVersion } from '../core/version.ts';
import type { ReadOutcome, ReadRecord, ReadTier } from './read-record.ts';

/** A record as the users of the package get it. */
export interface CachedRecord {
  /** The record's JSON text, byte for byte. */
  readonly text: string;
  /** The record, parsed anew at every look. @throws SyntaxError when what another program wrote there is no JSON */
  readonly value: unknown;
  /** `kind:digits`, such as `counter:42`; '' when none is known. */
  readonly version: string;
  /** Where it came from. `stale`: the last one known, while it is read again or cannot be read. */
  readonly tier: ReadTier;
  /** Since this instance's local tier took it, milliseconds; null from Redis, which does not tell. */
  readonly ageMs: number | null;
  /**
   * It was read while nothing was heard of the changes of others (`local.blindMs`): from Redis or the source, or, should
   * those not answer, the last one known, as `stale`.
   */
  readonly isBlind: boolean;
}

/** What the read path found, for users. The text is parsed only when the value is looked at: many pass it on as it is. */
export function cachedRecordOf(record: ReadRecord): CachedRecord {
  return new FoundRecord(record);
}

/** Of many. @throws what the first of them failed with */
export function cachedRecordsOf(outcomes: readonly ReadOutcome[]): (CachedRecord | undefined)[] {
  return outcomes.map((outcome) => {
    if (outcome.kind === 'failed') throw outcome.error;
    return outcome.kind === 'found' ? new FoundRecord(outcome.record) : undefined;
  });
}

class FoundRecord implements CachedRecord {
  readonly text: string;
  readonly version: string;
  readonly tier: ReadTier;
  readonly ageMs: number | null;
  readonly isBlind: boolean;

  constructor({ text, version, tier, ageMs, isBlind }: ReadRecord) {
    this.text = text;
    this.version = version === undefined ? '' : formatVersion(version);
    this.tier = tier;
    this.ageMs = ageMs;
    this.isBlind = isBlind;
  }

  get value(): unknown {
    return JSON.parse(this.text);
  }
}
