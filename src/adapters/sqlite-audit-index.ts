/** What an audit entry is found by: hashes of its keys, and the span of its positions. */
import { messageId } from '../core/change.ts';
import { fnv1a } from '../core/fnv.ts';
import type { AuditEntry } from '../core/trail.ts';

/** How a service makes a key of a record id. */
export interface KeyPattern {
  readonly prefix: string;
  readonly suffix: string;
}

/** Patterns by service. */
export type KeyPatterns = ReadonlyMap<string, readonly KeyPattern[]>;

/** More than a service has in its life; one whose keys do not contain their ids must not grow the table without end. */
const MAX_PATTERNS = 16;

/**
 * A 32-bit hash (FNV-1a with a final mix). Texts that collide cost a look at an entry too many; what is found is always compared.
 */
export function hashOf(text: string): number {
  let hash = fnv1a(text);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** The hash of a record whose key does not tell its id. */
export const hashOfRecord = (recordId: string): number => hashOf(`record ${recordId}`);
/** The hash of a message whose position is no number. */
export const hashOfMessage = (stream: string, position: string): number =>
  hashOf(`message ${messageId({ stream, position })}`);

export interface EntryIndex {
  /** Sorted; neighbours may be equal. */
  readonly hashes: Uint32Array;
  /** First and last position; null when no row has a numeric one. */
  readonly first: number | null;
  readonly last: number | null;
  /** Patterns seen for the first time. */
  readonly newPatterns: readonly { readonly service: string; readonly pattern: KeyPattern }[];
}

/** One pass over the rows. */
export function indexEntry(entry: AuditEntry, known: KeyPatterns): EntryIndex {
  const hashes: number[] = [];
  const newPatterns: { service: string; pattern: KeyPattern }[] = [];
  const patterns = entry.services.map((service) => [...(known.get(service) ?? [])]);
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const [position, , , service, recordId, key] of entry.rows) {
    const number = numberOf(position);
    if (number === undefined) {
      hashes.push(hashOfMessage(entry.stream, withoutPart(position)));
    } else {
      if (number < first) first = number;
      if (number > last) last = number;
    }
    if (key !== '') hashes.push(hashOf(key));
    if (recordId === '') continue;
    const ofService = patterns[service];
    if (ofService?.some((pattern) => fits(pattern, key, recordId))) continue;
    const pattern = patternOf(key, recordId);
    if (ofService === undefined || pattern === undefined || ofService.length >= MAX_PATTERNS) {
      hashes.push(hashOfRecord(recordId));
    } else {
      ofService.push(pattern);
      newPatterns.push({ service: entry.services[service] ?? '', pattern });
    }
  }
  const hasPositions = first <= last;
  return {
    hashes: Uint32Array.from(hashes).sort(),
    first: hasPositions ? first : null,
    last: hasPositions ? last : null,
    newPatterns,
  };
}

/** The position as a number, without its part; undefined where it is none or too large to be exact. */
export function numberOf(position: string): number | undefined {
  const end = position.indexOf('#');
  const digits = end === -1 ? position : position.slice(0, end);
  const number = Number(digits);
  return digits !== '' && Number.isSafeInteger(number) && String(number) === digits ? number : undefined;
}

export function withoutPart(position: string): string {
  const end = position.indexOf('#');
  return end === -1 ? position : position.slice(0, end);
}

function fits({ prefix, suffix }: KeyPattern, key: string, id: string): boolean {
  return (
    key.length === prefix.length + id.length + suffix.length &&
    key.startsWith(id, prefix.length) &&
    key.startsWith(prefix) &&
    key.endsWith(suffix)
  );
}

/** Ids stand last in most keys, so the last place an id occurs is taken for its place. */
function patternOf(key: string, id: string): KeyPattern | undefined {
  const at = key.lastIndexOf(id);
  return at === -1 ? undefined : { prefix: key.slice(0, at), suffix: key.slice(at + id.length) };
}
