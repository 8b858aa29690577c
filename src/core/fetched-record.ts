/** What a source answered, checked and read: the same for change messages and for readers. */
import { type CachewrightError, fail, reasonOf } from './errors.ts';
import { hasUnsafeNumber, sliceAt, valueAt } from './json-text.ts';
import type { Service, Version } from './service.ts';
import { readVersion } from './version.ts';

/** The record's text as it will be stored, and what it says. */
export interface CheckedRecord {
  readonly text: string;
  readonly body: unknown;
}

/**
 * Applies the service's record schema: `200 {"error": …}` never reaches a cache.
 *
 * @throws `E_RECORD_INVALID`
 */
export async function checkFetched(
  service: Pick<Service, 'id' | 'checkRecord'>,
  id: string,
  text: string,
): Promise<CheckedRecord> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (thrown) {
    throw invalidRecord(service, id, reasonOf(thrown), thrown);
  }
  if (service.checkRecord === undefined) return { text, body };
  const result = await service.checkRecord(body);
  if (!result.ok) throw invalidRecord(service, id, result.issues.join('; '));
  return result.transformed ? { text: JSON.stringify(result.value), body: result.value } : { text, body };
}

/**
 * The version that a fetched record has, for rules that look for it there; undefined: its field is missing.
 *
 * @param given as the source gives it beside the record
 * @throws `E_VERSION_INVALID`, `E_VERSION_AHEAD`
 */
export function versionOfFetched(
  { version: rule }: Pick<Service, 'version'>,
  { text, body }: CheckedRecord,
  given: string | undefined,
  nowMs: number,
): Version | undefined {
  if (given !== undefined) return readVersion(rule, given, undefined, nowMs);
  const raw = valueAt(body, rule.path);
  if (raw === undefined || raw === null) return undefined;
  return readVersion(rule, raw, hasUnsafeNumber(text) ? sliceAt(text, rule.path) : undefined, nowMs);
}

/** A version missing or unusable in a *fetched* record is the source's fault: it is asked again later. */
export function asFetched(
  error: CachewrightError,
  service: Pick<Service, 'id'>,
  id: string,
): CachewrightError {
  return error.outcome === 'reject' ? invalidRecord(service, id, error.message, error) : error;
}

function invalidRecord(
  service: Pick<Service, 'id'>,
  id: string,
  issues: string,
  cause?: unknown,
): CachewrightError {
  return fail('E_RECORD_INVALID', { service: service.id, id, issues }, { cause });
}
