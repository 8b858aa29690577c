/**
 * Change messages that do not come from Kafka: posted over HTTP, or read from a file. They enter the same queue.
 */
import { type Message, messageId } from '../core/change.ts';
import { chunkOf } from '../core/chunk.ts';
import type { ChunkQueue, QueuedChunk } from '../core/ports.ts';
import type { StreamPlace } from '../core/shards.ts';
import { idPart } from './chunk-id.ts';
import { type ChunkLimits, cut } from './cut.ts';

export interface SubmitOptions {
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  /** Machine id and version, kept in every chunk. */
  readonly machine: string;
  readonly limits: ChunkLimits;
}

export interface SubmitTo {
  /**
   * Begins the job ids, e.g. `http`, or `file:<hash>`; with `--again` something new each time. Messages of the same
   * prefix and positions are taken once, as long as the queue knows their job.
   */
  readonly idPrefix: string;
  /** Where a mark stands for these messages, its place. */
  readonly place?: StreamPlace;
}

/** Returns the message ids once the queue has everything; rejects with `E_ENQUEUE_FAILED` when that is not known. */
export type Submit = (messages: readonly Message[], to: SubmitTo) => Promise<string[]>;

/** Makes the way in for changes that are handed over in one call. The messages of a call are of one stream and epoch. */
export function createSubmit({ queue, machine, limits }: SubmitOptions): Submit {
  return async (messages, to) => {
    const chunks = cut(messages, sizeOfMessage, limits).map((part) => toChunk(part, machine, to));
    if (chunks.length > 0) await queue.enqueue(chunks);
    return messages.map(({ origin }) => messageId(origin));
  };
}

function toChunk(messages: readonly Message[], machine: string, { idPrefix, place }: SubmitTo): QueuedChunk {
  const { stream = '', position: first = '' } = messages[0]?.origin ?? {};
  const last = messages.at(-1)?.origin.position ?? '';
  return {
    id: `${idPart(idPrefix)}.${idPart(first)}-${idPart(last)}`,
    name: first === last ? `${stream} ${first}` : `${stream} ${first}–${last}`,
    data: chunkOf(messages, machine),
    ...(place !== undefined && { place }),
  };
}

function sizeOfMessage({ key, value, headers }: Message): number {
  let bytes = lengthOf(key) + lengthOf(value);
  for (const [name, raw] of headers) bytes += name.length + lengthOf(raw);
  return bytes;
}

function lengthOf(bytes: Message['value']): number {
  if (bytes === null) return 0;
  return typeof bytes === 'string' ? bytes.length : bytes.base64.length;
}
