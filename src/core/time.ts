/**
 * Instants as versions need them: read from ISO 8601 text or epoch milliseconds without losing a digit.
 *
 * Times of day are taken apart by hand, since this runs once per message and `Date.parse` keeps only milliseconds.
 */
import { offsetOfLocal } from './time-zone.ts';

/** Nanoseconds since 1970, in two parts so that no BigInt is needed. */
export interface Instant {
  /** Whole milliseconds since 1970, ≥ 0. */
  readonly ms: number;
  /** Digits below the millisecond, exactly six. */
  readonly below: string;
}

const MINUTE_MS = 60_000;
const ZERO = 48;
const daysOfMonth = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** `1767225600000`, or with up to six digits below the millisecond: `1767225600000.25`. Signs and exponents: undefined. */
const epochText = /^(\d+)(?:\.(\d+))?$/;

/**
 * An ISO 8601 time: `2026-01-01T00:00:00.123456789Z`. `T` may be a space, the seconds may be missing, the zone is `Z`,
 * `±hh:mm`, `±hhmm` or `±hh`.
 *
 * @param timezone IANA zone of times that name none; undefined: such times are refused
 * @returns the instant, or what is wrong as the rest of a sentence
 */
export function readIsoTime(text: string, timezone: string | undefined): Instant | string {
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const hasShape = isDash(text, 4) && isDash(text, 7) && isTimeMark(text, 10) && text.charCodeAt(13) === 58;
  if (!hasShape || Number.isNaN(year + month + day + hour + minute)) return 'it is no ISO 8601 time';
  let at = 16;
  let second = 0;
  let below = '000000';
  let milliseconds = 0;
  if (text.charCodeAt(at) === 58) {
    second = twoDigits(text, 17);
    if (Number.isNaN(second)) return 'it is no ISO 8601 time';
    at = 19;
    if (text.charCodeAt(at) === 46) {
      const end = endOfDigits(text, at + 1);
      if (end === at + 1) return 'it is no ISO 8601 time';
      const fraction = text.slice(at + 1, end);
      if (isBeyond(fraction, 9)) return 'it has more than 9 digits below the second';
      const padded = fraction.length >= 9 ? fraction : fraction.padEnd(9, '0');
      milliseconds = Number(padded.slice(0, 3));
      below = padded.slice(3, 9);
      at = end;
    }
  }
  if (month < 1 || month > 12 || day < 1 || day > lengthOfMonth(year, month)) return 'there is no such date';
  if (hour > 23 || minute > 59 || second > 59) return 'there is no such time of day';
  const localMs = Date.UTC(year, month - 1, day, hour, minute, second, milliseconds);
  const offsetMs = at === text.length ? offsetOfZoneless(localMs, timezone) : readOffset(text, at);
  if (typeof offsetMs === 'string') return offsetMs;
  const ms = localMs - offsetMs;
  // The year is asked too: `Date.UTC` takes 70 for 1970.
  return year < 1969 || ms < 0 ? 'it lies before 1970' : { ms, below };
}

/** Epoch milliseconds as text; see {@link readIsoTime} for what comes back. */
export function readEpochMs(text: string): Instant | string {
  const parts = epochText.exec(text);
  if (parts === null) return 'it is neither an ISO 8601 time nor epoch milliseconds';
  const [, whole = '', fraction = ''] = parts;
  if (isBeyond(fraction, 6)) return 'it has more than 9 digits below the second';
  const ms = Number(whole);
  if (!Number.isSafeInteger(ms)) return 'it lies too far in the future';
  return { ms, below: fraction.slice(0, 6).padEnd(6, '0') };
}

/** The instant of a canonical version of kind `time` as ISO 8601 with nine digits; undefined beyond what a date holds. */
export function isoOfNanoseconds(digits: string): string | undefined {
  const ms = Number(digits.slice(0, -6));
  if (ms > 8_640_000_000_000_000) return undefined;
  return `${new Date(ms).toISOString().slice(0, -1)}${digits.padStart(6, '0').slice(-6)}Z`;
}

function offsetOfZoneless(localMs: number, timezone: string | undefined): number | string {
  if (timezone === undefined) return 'it names no zone, and the version rule has no `timezone`';
  return offsetOfLocal(localMs, timezone);
}

/** `Z`, `±hh:mm`, `±hhmm` or `±hh` up to the end of the text, as milliseconds east of Greenwich. */
function readOffset(text: string, at: number): number | string {
  const mark = text.charCodeAt(at);
  if ((mark === 90 || mark === 122) && at + 1 === text.length) return 0;
  const parts = /^([+-])(\d\d)(?::?(\d\d))?$/.exec(text.slice(at));
  if (parts === null) return 'its zone is neither Z nor an offset such as +02:00';
  const [, sign = '', hours = '', minutes = '0'] = parts;
  if (Number(hours) > 23 || Number(minutes) > 59) return 'there is no such zone offset';
  const offset = (Number(hours) * 60 + Number(minutes)) * MINUTE_MS;
  return sign === '-' ? -offset : offset;
}

/** NaN when there are no two digits; `charCodeAt` past the end is NaN too. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO;
  const ones = text.charCodeAt(at + 1) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

function endOfDigits(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= 57) at += 1;
  return at;
}

/** True when a fraction has a digit other than 0 after its first `max`. */
function isBeyond(fraction: string, max: number): boolean {
  return fraction.length > max && /[1-9]/.test(fraction.slice(max));
}

function isDash(text: string, at: number): boolean {
  return text.charCodeAt(at) === 45;
}

function isTimeMark(text: string, at: number): boolean {
  const mark = text.charCodeAt(at);
  return mark === 84 || mark === 32 || mark === 116;
}

function lengthOfMonth(year: number, month: number): number {
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return month === 2 && isLeap ? 29 : (daysOfMonth[month - 1] ?? 0);
}
