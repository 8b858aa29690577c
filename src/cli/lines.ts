import { createReadStream } from 'node:fs';
import { isUtf8 } from 'node:buffer';
import { type Bytes, toBytes } from '../core/change.ts';
import { fail, reasonOf } from '../core/errors.ts';

/** A line of NDJSON. */
export interface Line {
  /** Counted from 1, blank lines too, so that it is the number an editor shows. */
  readonly number: number;
  readonly value: Bytes;
}

const NEWLINE = 10;
const RETURN = 13;

/** The lines that are not blank, byte for byte, without their line breaks. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  let number = 0;
  let rest: Buffer[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      number += 1;
      const value = valueOf([...rest, chunk.subarray(from, at)]);
      if (value !== undefined) yield { number, value };
      rest = [];
      from = at + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
  const last = valueOf(rest);
  if (last !== undefined) yield { number: number + 1, value: last };
}

function valueOf(parts: readonly Buffer[]): Bytes | undefined {
  const [only] = parts;
  let line = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  if (line.at(-1) === RETURN) line = line.subarray(0, -1);
  const value = toBytes(line, isUtf8);
  return typeof value === 'string' && value.trim() === '' ? undefined : value;
}

/**
 * The bytes of a file, or of stdin for `-`.
 *
 * @throws `E_USAGE` when the file cannot be read, or a person at a terminal was going to be waited for
 */
export async function* bytesOf(file: string): AsyncGenerator<Buffer> {
  if (file === '-' && process.stdin.isTTY) {
    throw fail('E_USAGE', { reason: 'Nothing is piped into stdin; give a message or a file.' });
  }
  const stream: AsyncIterable<unknown> = file === '-' ? process.stdin : createReadStream(file);
  try {
    for await (const chunk of stream) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
  } catch (thrown) {
    throw fail('E_USAGE', { reason: `${file} cannot be read: ${reasonOf(thrown)}.` }, { cause: thrown });
  }
}

/** All of stdin as one message, without the line break at its end. */
export async function messageFromStdin(): Promise<Bytes> {
  const parts: Buffer[] = [];
  for await (const part of bytesOf('-')) parts.push(part);
  let all = Buffer.concat(parts);
  if (all.at(-1) === NEWLINE) all = all.subarray(0, -1);
  if (all.at(-1) === RETURN) all = all.subarray(0, -1);
  return toBytes(all, isUtf8);
}
