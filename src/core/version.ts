/**
 * Versions: read by a service's rule into canonical decimals, compared, written and shown. docs/versions.md has the rules.
 */
import { fail } from './errors.ts';
import type { Version, VersionRule } from './service.ts';
import { type Instant, isoOfNanoseconds, readEpochMs, readIsoTime } from './time.ts';

/** Longer counters are refused: no such counter counts anything. */
const MAX_DIGITS = 100;

/** A text put together from two is taken apart again at its first comparison; that of a product is whole at once. */
const NANOSECONDS_PER_MS = 1_000_000n;

const digitsOnly = /^\d+$/;
/** A JSON number that is an integer: a fraction of zeros changes nothing, an exponent is refused. */
const integerText = /^(\d+)(?:\.0+)?$/;
const versionText = /^(counter|time|offset):(0|[1-9]\d*)$/;

/** Compares two canonical decimals (no leading zeros) of any length. */
export function compareDigits(a: string, b: string): -1 | 0 | 1 {
  if (a.length !== b.length) return a.length < b.length ? -1 : 1;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/**
 * Which of two versions is the older: -1 when `a` is.
 *
 * @throws `E_UNEXPECTED` for versions of different kinds, which can never be compared: check the kinds first.
 */
export function compareVersions(a: Version, b: Version): -1 | 0 | 1 {
  if (a.kind !== b.kind) {
    throw fail('E_UNEXPECTED', {
      what: `versions ${formatVersion(a)} and ${formatVersion(b)} were compared, which are of different kinds`,
    });
  }
  return compareDigits(a.digits, b.digits);
}

/** The one text form of a version in audit rows, logs and answers: `counter:42`, `time:1767225600000000000`. */
export function formatVersion(version: Version): string {
  return `${version.kind}:${version.digits}`;
}

/** The inverse of {@link formatVersion}; null when the text is no version. */
export function parseVersion(text: string): Version | null {
  const [, kind, digits] = versionText.exec(text) ?? [];
  if (digits === undefined) return null;
  return kind === 'counter' || kind === 'time' || kind === 'offset' ? { kind, digits } : null;
}

/** A version as a person reads it: `42`, `2026-01-01T00:00:00.123456789Z`, `offset 17`. */
export function describeVersion(version: Version): string {
  if (version.kind === 'time') return isoOfNanoseconds(version.digits) ?? `${version.digits} ns`;
  return version.kind === 'offset' ? `offset ${version.digits}` : version.digits;
}

/** The version that a message's own timestamp stands for; undefined when there is none (Kafka says -1). */
export function versionFromTimestamp(timestampMs: number): Version | undefined {
  if (!(timestampMs >= 0) || timestampMs > Number.MAX_SAFE_INTEGER) return undefined;
  const ms = Math.floor(timestampMs);
  const nanoseconds = Math.floor((timestampMs - ms) * 1_000_000);
  return ofInstant({ ms, below: nanoseconds === 0 ? '000000' : String(nanoseconds).padStart(6, '0') });
}

/** The version that a Kafka offset stands for; comparable only within one stream and epoch. */
export function versionFromOffset(offset: string): Version {
  if (!digitsOnly.test(offset)) throw invalid(offset, 'the position of this message is no offset');
  return { kind: 'offset', digits: withoutZeros(offset) };
}

/**
 * Reads a version by a service's rule.
 *
 * @param raw the field as `JSON.parse` or a header gave it
 * @param sourceText the field's own source text, needed where `JSON.parse` may have rounded the number
 * @param nowMs the clock; used by kind `time` only
 * @throws `E_VERSION_MISSING` for undefined and null, `E_VERSION_INVALID`, `E_VERSION_AHEAD`
 */
export function readVersion(
  rule: VersionRule,
  raw: unknown,
  sourceText: string | undefined,
  nowMs: number,
): Version {
  if (raw === undefined || raw === null) throw fail('E_VERSION_MISSING', { where: whereOf(rule) });
  if (typeof raw !== 'string' && typeof raw !== 'number' && typeof raw !== 'bigint') {
    throw invalid(raw, `it is of type ${Array.isArray(raw) ? 'array' : typeof raw}`);
  }
  if (rule.kind === 'time') {
    if (typeof raw === 'number' && sourceText === undefined && Number.isSafeInteger(raw) && raw > 0) {
      refuseAhead(rule, raw, raw, nowMs);
      return { kind: 'time', digits: String(BigInt(raw) * NANOSECONDS_PER_MS) };
    }
    const instant =
      typeof raw === 'string' && raw.charCodeAt(4) === 45
        ? readIsoTime(raw, rule.timezone)
        : readEpochMs(textOf(raw, sourceText));
    if (typeof instant === 'string') throw invalid(raw, instant);
    refuseAhead(rule, raw, instant.ms, nowMs);
    return ofInstant(instant);
  }
  return { kind: rule.kind, digits: readCounter(raw, sourceText) };
}

/** Throws `E_VERSION_AHEAD` for a time that lies further ahead of the clock than the rule allows. */
export function refuseAhead(rule: VersionRule, value: unknown, timeMs: number, nowMs: number): void {
  const aheadMs = timeMs - nowMs;
  if (aheadMs > rule.maxAheadMs) {
    throw fail('E_VERSION_AHEAD', { value, aheadMs: Math.round(aheadMs), max: rule.maxAheadMs });
  }
}

/** Names the place a rule reads, for people. */
export function whereOf(rule: VersionRule): string {
  if (rule.from === 'offset') return 'the Kafka offset';
  const name = rule.path.join('/');
  return rule.from === 'header' ? `the header ${name}` : `the ${rule.from}'s field /${name}`;
}

function readCounter(raw: string | number | bigint, sourceText: string | undefined): string {
  if (typeof raw === 'number' && sourceText === undefined) {
    if (Number.isSafeInteger(raw) && raw >= 0) return String(raw);
    throw invalid(raw, reasonAgainst(String(raw)));
  }
  const text = textOf(raw, sourceText);
  const digits = typeof raw === 'string' ? text : (integerText.exec(text)?.[1] ?? '');
  if (!digitsOnly.test(digits)) throw invalid(text, reasonAgainst(text));
  const canonical = withoutZeros(digits);
  if (canonical.length > MAX_DIGITS) {
    throw invalid(text, `it has ${canonical.length} digits; ${MAX_DIGITS} are allowed`);
  }
  return canonical;
}

function reasonAgainst(text: string): string {
  if (text.startsWith('-')) return 'it is negative';
  if (/^\d+\.\d+$/.test(text)) return 'it has a fraction';
  if (/^\d+(\.\d+)?e[+-]?\d+$/i.test(text)) return 'it has an exponent';
  return digitsOnly.test(text) ? 'it is too large to be exact; send it as text' : 'it is no decimal number';
}

/** The digits as they were sent: a number's source text where it is known, else what JavaScript made of it. */
function textOf(raw: string | number | bigint, sourceText: string | undefined): string {
  return typeof raw === 'number' && sourceText !== undefined ? sourceText : String(raw);
}

function ofInstant({ ms, below }: Instant): Version {
  return { kind: 'time', digits: ms === 0 ? withoutZeros(below) : `${ms}${below}` };
}

function withoutZeros(digits: string): string {
  if (digits.charCodeAt(0) !== 48) return digits;
  return digits.replace(/^0+(?=\d)/, '');
}

function invalid(value: unknown, reason: string): ReturnType<typeof fail> {
  return fail('E_VERSION_INVALID', { value: typeof value === 'object' ? 'an object' : value, reason });
}
