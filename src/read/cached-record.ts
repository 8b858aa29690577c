import { formatVersion } from '../core/version.ts';
import type { ReadRecord } from './reader.ts';

/** A record as the users of the package get it. */
export interface CachedRecord {
  /** The record's JSON text, byte for byte. */
  readonly text: string;
  /** The record, parsed anew at every look. @throws SyntaxError when what another program wrote there is no JSON */
  readonly value: unknown;
  /** `kind:digits`, such as `counter:42`; '' when Redis has no fence for it. */
  readonly version: string;
  readonly tier: 'local' | 'redis';
  /** Since this instance's local tier took it, milliseconds; null from Redis, which does not tell. */
  readonly ageMs: number | null;
}

/** What the read path found, for users. The text is parsed only when the value is looked at: many pass it on as it is. */
export function cachedRecordOf({ text, entry, tier, ageMs }: ReadRecord): CachedRecord {
  return {
    text,
    get value(): unknown {
      return JSON.parse(text);
    },
    version: entry === undefined ? '' : formatVersion(entry.version),
    tier,
    ageMs,
  };
}
