import { isUtf8 } from 'node:buffer';
import { type Bytes, type Header, type Message, toBytes } from '../core/change.ts';
import type { SourceRecord } from '../core/ports.ts';

const NO_HEADERS: readonly Header[] = [];

/** A record as a message of its stream; nothing in it is believed yet. */
export function toMessage(record: SourceRecord, stream: string, epoch: number): Message {
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
