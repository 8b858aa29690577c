/**
 * How a chunk is kept in its job. A large one is packed: its messages repeat each other's field names, and what they
 * weigh is paid six times (written, stored, logged to disk, read, held by the worker, collected). 300-byte messages
 * become a fifth. A small one stays as it is, readable with `redis-cli HGET`; the queue board unpacks both.
 */
import { isUtf8 } from 'node:buffer';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { type Bytes, toBytes } from './change.ts';
import { CHUNK_FORMAT, type ChunkData, PLAIN_FORMAT } from './chunk.ts';

/** Characters of values from which packing costs less than it saves: below, a call of the compressor costs more than JSON. */
const PACK_FROM = 16_384;

const LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** A chunk whose messages are packed; the rest is there for whoever looks at the job in Redis. */
export interface PackedChunk {
  readonly format: number;
  readonly stream: string;
  readonly epoch: number;
  readonly first: string;
  readonly last: string;
  /** Base64 of zstd of: length of the head in bytes (decimal, a line feed), the head's JSON, the texts of all values. */
  readonly packed: string;
}

/** What a job's data may be; that of an ended job is a chunk without messages. */
export type StoredChunk = ChunkData | PackedChunk;

/** The chunk's columns without the texts of its values: their lengths in bytes instead (null: no text, see `odd`). */
interface Head extends Omit<ChunkData, 'format' | 'values' | 'positions' | 'keys'> {
  /** The first position alone where each follows the one before, as in most partitions; else all. */
  readonly positions: readonly string[];
  /** What `times` are reckoned from, epoch milliseconds; absent in format 2: from 0. */
  readonly sinceMs?: number;
  /** One text, a line each, where all are texts without line feeds: as JSON strings, V8 would look up every short one in a table of all. */
  readonly keys?: string | readonly (Bytes | null)[];
  readonly lengths: readonly (number | null)[];
  /** Values that are no text, by index: missing ones and bytes that are not UTF-8. */
  readonly odd: Readonly<Record<string, Bytes | null>>;
}

/** A chunk whose values are still the bytes that arrived. */
export interface RawChunk extends Omit<ChunkData, 'values'> {
  readonly values: readonly (Buffer | null)[];
}

/** The same as {@link packChunk}, without making texts of bytes that are packed again at once. */
export function packRawChunk(chunk: RawChunk): StoredChunk {
  const { values } = chunk;
  const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
  if (bytes < PACK_FROM) return { ...chunk, values: values.map(bytesOf) };
  const odd: Record<string, Bytes | null> = {};
  const bodies: Buffer[] = [];
  const lengths = values.map((value, index) => {
    if (value !== null && isUtf8(value)) {
      bodies.push(value);
      return value.length;
    }
    odd[index] = bytesOf(value);
    return null;
  });
  return pack(chunk, lengths, odd, bodies);
}

export function packChunk(chunk: StoredChunk): StoredChunk {
  if (isPacked(chunk)) return chunk;
  const { values } = chunk;
  let characters = 0;
  for (const value of values) if (typeof value === 'string') characters += value.length;
  if (characters < PACK_FROM) return chunk;
  const odd: Record<string, Bytes | null> = {};
  const texts: string[] = [];
  values.forEach((value, index) => {
    if (typeof value === 'string') texts.push(value);
    else odd[index] = value;
  });
  const body = Buffer.from(texts.join(''));
  // One byte a character: the common case, in which nothing needs to be measured.
  const lengthOf = body.length === characters ? (text: string) => text.length : Buffer.byteLength;
  const lengths = values.map((value) => (typeof value === 'string' ? lengthOf(value) : null));
  return pack(chunk, lengths, odd, [body]);
}

function pack(
  chunk: ChunkData | RawChunk,
  lengths: Head['lengths'],
  odd: Head['odd'],
  bodies: readonly Buffer[],
): PackedChunk {
  const { format: _format, values: _values, positions, times, keys, ...columns } = chunk;
  const sinceMs = times[0] ?? 0;
  const head = Buffer.from(
    JSON.stringify({
      ...columns,
      sinceMs,
      times: times.map((timeMs) => timeMs - sinceMs),
      ...(keys !== undefined && { keys: areLines(keys) ? keys.join('\n') : keys }),
      positions: isInSequence(positions) ? positions.slice(0, 1) : positions,
      lengths,
      odd,
    } satisfies Head),
  );
  const raw = Buffer.concat([Buffer.from(`${head.length}\n`), head, ...bodies]);
  return {
    format: CHUNK_FORMAT,
    stream: chunk.stream,
    epoch: chunk.epoch,
    first: positions[0] ?? '',
    last: positions.at(-1) ?? '',
    packed: zstdCompressSync(raw, LEVEL).toString('base64'),
  };
}

/** The chunk as it was before it was packed. A format newer than this program's is returned as it is. */
export function unpackChunk(stored: StoredChunk): ChunkData {
  if (!isPacked(stored)) return stored;
  const raw = zstdDecompressSync(Buffer.from(stored.packed, 'base64'));
  const headAt = raw.indexOf(0x0a) + 1;
  const bodyAt = headAt + Number(raw.toString('latin1', 0, headAt - 1));
  const head = headOf(raw.toString('utf8', headAt, bodyAt));
  const { lengths, odd, positions, sinceMs = 0, times, keys, ...columns } = head;
  let at = bodyAt;
  // A copy for each text: a slice of one long string would keep the whole chunk alive in the local tier.
  const values = lengths.map((length, index) => {
    if (length === null) return odd[index] ?? null;
    const from = at;
    at += length;
    return raw.toString('utf8', from, at);
  });
  return {
    ...columns,
    format: PLAIN_FORMAT,
    positions: positions.length < lengths.length ? sequence(positions[0] ?? '', lengths.length) : positions,
    times: times.map((timeMs) => sinceMs + timeMs),
    ...(keys !== undefined && { keys: typeof keys === 'string' ? keys.split('\n') : keys }),
    values,
  };
}

/** Whether these are the whole numbers from the first one on, small enough to be counted. */
function isInSequence(positions: readonly string[]): boolean {
  const first = Number(positions[0]);
  if (!Number.isSafeInteger(first + positions.length)) return false;
  return positions.every((position, index) => position === String(first + index));
}

function sequence(first: string, length: number): string[] {
  const from = Number(first);
  return Array.from({ length }, (_, index) => String(from + index));
}

/** Bytes as a job keeps them; null stays null. */
export function bytesOf(raw: Buffer | null): Bytes | null {
  return raw === null ? null : toBytes(raw, isUtf8);
}

function areLines(keys: readonly (Bytes | null)[]): keys is readonly string[] {
  return keys.every((key) => typeof key === 'string' && !key.includes('\n'));
}

function isPacked(stored: StoredChunk): stored is PackedChunk {
  return stored.format <= CHUNK_FORMAT && 'packed' in stored;
}

/** What {@link packChunk} wrote. */
function headOf(json: string): Head {
  const head: Head = JSON.parse(json);
  return head;
}
