import { InvalidArgumentError } from 'commander';
import { formatDuration, parseDuration } from '../config/durations.ts';
import { fail } from '../core/errors.ts';
import { readIsoTime } from '../core/time.ts';

/**
 * The time `--since` means, epoch milliseconds: an ISO time with its zone, epoch milliseconds, or a duration (`2h`: so
 * long ago).
 *
 * @throws `E_USAGE`
 */
export function timeIn(text: string, nowMs: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined) return nowMs - ago;
  if (/^\d{9,15}$/.test(text)) return Number(text);
  const instant = readIsoTime(text, undefined);
  if (typeof instant !== 'string') return instant.ms;
  throw fail('E_USAGE', {
    reason: `--since ${text}: ${instant}. Give a time such as 2026-01-01T00:00:00Z, epoch milliseconds, or a duration such as ${formatDuration(7_200_000).replace(' ', '')}.`,
  });
}

/**
 * The offsets of `--offsets`: `0:1200,1:800`, or a JSON file that holds `{"0": "1200", "1": "800"}`, by topic if it likes,
 * or what an interrupted replay printed with `--json`.
 *
 * @param read gives the text of a file
 * @throws `E_USAGE`
 */
export function offsetsIn(
  topic: string,
  text: string,
  read: (file: string) => string,
): ReadonlyMap<number, string> {
  const entries = /^\d+:\d+(,\d+:\d+)*$/.test(text)
    ? text.split(',').map((pair) => pair.split(':'))
    : Object.entries(offsetsOfJson(topic, text, read(text)));
  const offsets = new Map<number, string>();
  for (const [partition = '', offset] of entries) {
    if (!/^\d+$/.test(partition) || !/^\d+$/.test(String(offset))) {
      throw fail('E_USAGE', {
        reason: `The offsets of ${topic} are not of the form {"<partition>": "<offset>"}: found ${partition}: ${String(offset)}.`,
      });
    }
    offsets.set(Number(partition), String(BigInt(String(offset))));
  }
  return offsets;
}

function offsetsOfJson(topic: string, file: string, text: string): object {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw fail('E_USAGE', { reason: `${file} is no JSON. Offsets may also be given as 0:1200,1:800.` });
  }
  for (const name of ['offsets', topic]) {
    const inner: unknown = isObject(found) ? Reflect.get(found, name) : undefined;
    if (isObject(inner)) found = inner;
  }
  if (isObject(found)) return found;
  throw fail('E_USAGE', { reason: `${file} holds no offsets of ${topic}.` });
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads the value of `--partition`. */
export function readPartitions(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError('It is a list of numbers: 0,3.');
  return text.split(',').map(Number);
}

/** Reads the value of `--rate`. */
export function readRate(text: string): number {
  const rate = Number(text);
  if (Number.isSafeInteger(rate) && rate >= 0) return rate;
  throw new InvalidArgumentError('It is a number of messages a second; 0: as fast as the queue has room.');
}
