import { isUtf8 } from 'node:buffer';
import { type Header, toBytes } from '../core/change.ts';
import { chunkOfColumns } from '../core/chunk.ts';
import { bytesOf, packRawChunk } from '../core/packed-chunk.ts';
import type { QueuedChunk, SourceRecord } from '../core/ports.ts';
import { chunkId, chunkName, type ChunkPlace } from './chunk-id.ts';

const NO_HEADERS: readonly Header[] = [];

/** Records of one partition as a chunk for the queue: as they came, parsed by whoever works on it. */
export function toChunk(
  records: readonly SourceRecord[],
  at: Omit<ChunkPlace, 'first' | 'last'>,
  machine: string,
): QueuedChunk {
  const place = { ...at, first: records[0]?.offset ?? '', last: records.at(-1)?.offset ?? '' };
  const raw = chunkOfColumns({
    machine,
    stream: `${at.topic}-${at.partition}`,
    epoch: at.epoch,
    positions: records.map(({ offset }) => offset),
    times: records.map(({ timestampMs }) => timestampMs),
    values: records.map(({ value }) => value),
    keys: records.map(({ key }) => bytesOf(key)),
    headers: records.map(({ headers }) => headersOf(headers)),
  });
  const { topic, partition } = at;
  return { id: chunkId(place), name: chunkName(place), data: packRawChunk(raw), place: { topic, partition } };
}

function headersOf(headers: SourceRecord['headers']): readonly Header[] {
  return headers.length === 0
    ? NO_HEADERS
    : headers.map(([name, raw]) => [name, toBytes(raw, isUtf8)] as const);
}

/** Bytes of key, value and headers. */
export function sizeOfRecord({ key, value, headers }: SourceRecord): number {
  let bytes = (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, raw] of headers) bytes += name.length + raw.length;
  return bytes;
}
