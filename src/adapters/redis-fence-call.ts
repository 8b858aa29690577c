/** Calls of the fence script: its arguments from a group of writes, and results from what it returns. */
import { COUNTER_KEY, LOG_KEY, type LogWriter } from './redis-announcement.ts';
import { messageId } from '../core/change.ts';
import { fail } from '../core/errors.ts';
import { decodeFence, encodeFence, FENCE_FORMAT, fenceKeyOf } from '../core/fence.ts';
import type { TierResult, TierWrite } from '../core/ports.ts';
import type { Version } from '../core/service.ts';
import { formatVersion } from '../core/version.ts';

/**
 * The letter of a write. Upserts: `u` the fence was not looked at (an inline record), `n` there was none, `s` a fence
 * was seen, `o` an observed tombstone was seen (only then its text matters). Deletes with a version: the same in
 * capitals. Deletes without one: `x` not looked at, `y` there was none, `z` a fence was seen.
 */
function letterOf({ op, version, seen }: TierWrite): string {
  if (version === null) {
    if (seen === undefined) return 'x';
    return seen === null ? 'y' : 'z';
  }
  const letter = seen === undefined ? 'u' : seen === null ? 'n' : seen.charAt(2) === 'o' ? 'o' : 's';
  return op === 'upsert' ? letter : letter.toUpperCase();
}

/** The fence a write leaves behind; that of a delete without version is completed by the script. */
export function fenceAfter({ key, op, version, origin }: TierWrite): string {
  if (op === 'upsert') {
    if (version === null) throw fail('E_UNEXPECTED', { what: `an upsert of ${key} without a version` });
    return encodeFence('live', version, origin);
  }
  return encodeFence(version === null ? 'observed' : 'tombstone', version, origin);
}

/** How long value and fence of a write live, milliseconds; 0: no expiry. A fence outlives its value by `fenceTtlMs`. */
export function livesOf({ op, ttlMs, fenceTtlMs }: TierWrite): readonly [valueMs: number, fenceMs: number] {
  if (op === 'delete') return [0, Math.round(fenceTtlMs)];
  if (ttlMs <= 0) return [0, 0];
  const valueMs = Math.max(1, Math.round(ttlMs));
  return [valueMs, fenceTtlMs > 0 ? valueMs + Math.round(fenceTtlMs) : 0];
}

/** KEYS of one call beside a key and a fence for each write. */
const LOG_KEYS = [LOG_KEY, COUNTER_KEY];

/** How many keys a call of so many writes names. */
export function keysOf(writes: number, log: LogWriter | undefined): number {
  return 2 * writes + (log === undefined ? 0 : LOG_KEYS.length);
}

/** KEYS and ARGV of one call, in the order EVALSHA takes them. Without a log nothing is announced. */
export function argumentsOf(writes: readonly TierWrite[], log: LogWriter | undefined): string[] {
  const letters = writes.map(letterOf).join('');
  const columns = columnsOf(writes, letters);
  const args = writes.map(({ key }) => key);
  for (const { key } of writes) args.push(fenceKeyOf(key));
  if (log !== undefined) args.push(...LOG_KEYS);
  args.push(letters, String(columns), log?.writer ?? '', String(log?.maxKeys ?? 0));
  for (const { text } of writes) args.push(text);
  for (const write of writes) args.push(fenceAfter(write));
  if (columns > 2) for (const { seen } of writes) args.push(seen ?? '');
  if (columns > 3) {
    const lives = writes.map(livesOf);
    for (const [valueMs] of lives) args.push(String(valueMs));
    for (const [, fenceMs] of lives) args.push(String(fenceMs));
  }
  return args;
}

function columnsOf(writes: readonly TierWrite[], letters: string): 2 | 3 | 5 {
  if (writes.some((write) => (write.op === 'upsert' ? write.ttlMs : write.fenceTtlMs) > 0)) return 5;
  return /[oz]/i.test(letters) ? 3 : 2;
}

const SET: TierResult = Object.freeze({ kind: 'set', note: '' });
const NOTES = { '': '', v: 'unfencedValue', i: 'unfencedInline' } as const;
const REASONS: Readonly<Record<string, 'older' | 'tombstone' | 'tie'>> = {
  o: 'older',
  t: 'tombstone',
  e: 'tie',
};

/** The results of a call, in the order of its writes. */
export function resultsOf(reply: unknown, writes: readonly TierWrite[]): TierResult[] {
  if (reply === 1) return writes.map(() => SET);
  if (!Array.isArray(reply) || reply.length !== writes.length) {
    throw fail('E_UNEXPECTED', {
      what: 'the fence script answered with something else than one text per write',
    });
  }
  return writes.map((write, index) => resultOf(String(reply[index]), write));
}

/**
 * S set · = the same is there · E evicted (S and E with `v` or `i`: a value without fence was replaced) · C changed ·
 * R refused, why (o, t, e), by which fence · K kinds differ, stored fence · F no fence of this format · X error of Redis.
 */
function resultOf(reply: string, { key, version }: TierWrite): TierResult {
  const rest = reply.slice(1);
  switch (reply.charAt(0)) {
    case 'S':
      return { kind: 'set', note: noteOf(rest) };
    case 'E':
      return { kind: 'evicted', note: noteOf(rest) };
    case '=':
      return { kind: 'same', note: '' };
    case 'C':
      return { kind: 'changed' };
    case 'R':
      return refusedBy(rest.slice(1), REASONS[rest.charAt(0)] ?? 'older');
    case 'K':
      return mismatchOf(rest, version);
    case 'F':
      return unreadableFence(key, rest);
    default:
      return failedWrite(key, rest);
  }
}

function noteOf(letter: string): '' | 'unfencedValue' | 'unfencedInline' {
  return letter === 'v' || letter === 'i' ? NOTES[letter] : '';
}

/** Versions of another kind, or offsets of another stream, which count something else. */
export function mismatchOf(fence: string, version: Version | null): TierResult {
  const stored = decodeFence(fence);
  const kind = stored?.version?.kind ?? '';
  return {
    kind: 'kindMismatch',
    stored: kind === version?.kind ? `${kind} of ${stored?.origin.stream}` : kind,
  };
}

export function refusedBy(fence: string, reason: 'older' | 'tombstone' | 'tie'): TierResult {
  const stored = decodeFence(fence);
  const by = stored === undefined ? '' : messageId(stored.origin);
  const version = stored?.version == null ? '' : formatVersion(stored.version);
  return { kind: 'refused', by, version, reason };
}

/** A text under the fence key that this program cannot read: a newer format, or not ours at all. */
export function unreadableFence(key: string, text: string): TierResult {
  const format = /^(\d{1,4})\|/.exec(text)?.[1];
  if (format !== undefined && format !== String(FENCE_FORMAT)) {
    return {
      kind: 'failed',
      error: fail('E_FORMAT_NEWER', { what: `fence of ${key}`, format, known: FENCE_FORMAT }),
    };
  }
  const reason = `${fenceKeyOf(key)} holds something that is not a fence`;
  return { kind: 'failed', error: fail('E_REDIS_WRITE', { key, reason }) };
}

/** A foreign type concerns the one key; everything else (out of memory, read-only replica) is Redis as a whole. */
export function failedWrite(key: string, reason: string): TierResult {
  const error = reason.startsWith('WRONGTYPE')
    ? fail('E_REDIS_WRITE', { key, reason })
    : fail('E_REDIS_UNAVAILABLE', { reason });
  return { kind: 'failed', error };
}

/** What is announced: also the same once more, since whoever wrote it first may have died before it told. */
export function isChange(result: TierResult | undefined): boolean {
  return result?.kind === 'set' || result?.kind === 'same' || result?.kind === 'evicted';
}
