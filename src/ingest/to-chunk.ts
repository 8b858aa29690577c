import { isUtf8 } from 'node:buffer';
import { type Bytes, type Header, type Message, toBytes } from '../core/change.ts';
import { chunkOf } from '../core/chunk.ts';
import type { QueuedChunk, SourceRecord } from '../core/ports.ts';
import { chunkId, chunkName, type ChunkPlace } from './chunk-id.ts';

const NO_HEADERS: readonly Header[] = [];

/** Records of one partition as a chunk for the queue: raw bytes, parsed by whoever works on it. */
export function toChunk(
  records: readonly SourceRecord[],
  at: Omit<ChunkPlace, 'first' | 'last'>,
  machine: string,
): QueuedChunk {
  const stream = `${at.topic}-${at.partition}`;
  const place = { ...at, first: records[0]?.offset ?? '', last: records.at(-1)?.offset ?? '' };
  const messages = records.map((record) => toMessage(record, stream, at.epoch));
  return { id: chunkId(place), name: chunkName(place), data: chunkOf(messages, machine) };
}

/** A record as a message of its stream; nothing in it is believed yet. */
function toMessage(record: SourceRecord, stream: string, epoch: number): Message {
  const { offset, timestampMs, key, value, headers } = record;
  return {
    origin: { stream, epoch, position: offset },
    timestampMs,
    key: bytesOf(key),
    value: bytesOf(value),
    headers:
      headers.length === 0 ? NO_HEADERS : headers.map(([name, raw]) => [name, toBytes(raw, isUtf8)] as const),
  };
}

/** Bytes of key, value and headers. */
export function sizeOfRecord({ key, value, headers }: SourceRecord): number {
  let bytes = (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, raw] of headers) bytes += name.length + raw.length;
  return bytes;
}

function bytesOf(raw: Buffer | null): Bytes | null {
  return raw === null ? null : toBytes(raw, isUtf8);
}
