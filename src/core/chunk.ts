/**
 * A chunk: the messages of one BullMQ job, as the job's data keeps them. Columns instead of objects, because a busy
 * job holds a thousand messages and the field names would be a tenth of it; {@link describeChunk} is the readable view.
 */
import { type Bytes, type Header, type Message, messageId } from './change.ts';
import { fail } from './errors.ts';

/** Layout of {@link ChunkData}. Bumped when it changes. */
export const PLAIN_FORMAT = 1;

/** The newest layout this program reads, the packed one of `packed-chunk.ts`; a worker that meets a newer one leaves the job waiting. */
export const CHUNK_FORMAT = 3;

/** What a run that waits remembers; a run that never started has none of this. */
export interface Waiting {
  /** The state it resumes in (`parsed` after a fetch was tried, else `received`). */
  readonly state: string;
  /** Failed attempts so far. */
  readonly attempts: number;
  /** Not before this time, epoch milliseconds. */
  readonly dueMs: number;
  /** When it first failed or began to wait, epoch milliseconds. */
  readonly sinceMs: number;
  /** Error code of the last failure. */
  readonly error: string;
}

export interface ChunkData {
  readonly format: number;
  /** Machine id and version the waiting runs' states belong to. */
  readonly machine: string;
  readonly stream: string;
  readonly epoch: number;
  /** 0 for a first delivery; redriven dead letters count up. */
  readonly redrive: number;
  /** Executions of the job this one was split from; added to the job's own count. */
  readonly parentExecutions: number;
  /** True for the parts of a job whose executions died: a worker runs one of these at a time. */
  readonly suspect?: boolean;
  readonly positions: readonly string[];
  /** Message timestamps, epoch milliseconds. */
  readonly times: readonly number[];
  readonly values: readonly (Bytes | null)[];
  /** Absent when no message has one. */
  readonly keys?: readonly (Bytes | null)[];
  readonly headers?: readonly (readonly Header[])[];
  /** By place: `12`, or `12#1` for the second change of the message at index 12. */
  readonly waiting?: Readonly<Record<string, Waiting>>;
}

/** Data of a job whose runs are all final; its return value is the summary. */
export interface EmptyChunk {
  readonly format: number;
  readonly positions: readonly [];
}

/** What a chunk may know beside its messages. */
interface More {
  readonly redrive?: number;
  readonly parentExecutions?: number;
  readonly suspect?: boolean;
  readonly waiting?: Readonly<Record<string, Waiting>>;
}

/** Builds a chunk's data from messages of one stream and epoch. */
export function chunkOf(messages: readonly Message[], machine: string, more: More = {}): ChunkData {
  const first = messages[0];
  if (first === undefined) throw fail('E_UNEXPECTED', { what: 'a chunk without messages' });
  return chunkOfColumns(
    {
      machine,
      stream: first.origin.stream,
      epoch: first.origin.epoch,
      positions: messages.map((message) => message.origin.position),
      times: messages.map((message) => message.timestampMs),
      values: messages.map((message) => message.value),
      keys: messages.map((message) => message.key),
      headers: messages.map((message) => message.headers),
    },
    more,
  );
}

/** The same from its columns, whatever its values are yet; columns that hold nothing are left out. */
export function chunkOfColumns<Value>(
  { keys, headers, ...columns }: Columns<Value>,
  { redrive = 0, parentExecutions = 0, suspect, waiting }: More = {},
): Omit<ChunkData, 'values'> & { readonly values: readonly Value[] } {
  return {
    format: PLAIN_FORMAT,
    ...columns,
    redrive,
    parentExecutions,
    ...(suspect === true && { suspect }),
    ...(keys.some((key) => key !== null) && { keys }),
    ...(headers.some((list) => list.length > 0) && { headers }),
    ...(waiting !== undefined && { waiting }),
  };
}

type Columns<Value> = Pick<ChunkData, 'machine' | 'stream' | 'epoch' | 'positions' | 'times'> &
  Required<Pick<ChunkData, 'keys' | 'headers'>> & { readonly values: readonly Value[] };

/** The message at an index of a chunk. */
export function messageAt(chunk: ChunkData, index: number): Message {
  return {
    origin: { stream: chunk.stream, epoch: chunk.epoch, position: chunk.positions[index] ?? '' },
    timestampMs: chunk.times[index] ?? 0,
    key: chunk.keys?.[index] ?? null,
    value: chunk.values[index] ?? null,
    headers: chunk.headers?.[index] ?? [],
  };
}

/** The messages from `from` up to but without `to`, with what waits among them. */
export function sliceOfChunk(
  chunk: ChunkData,
  from: number,
  to: number,
  more: { parentExecutions: number },
): ChunkData {
  const indexes = Array.from({ length: to - from }, (_, offset) => from + offset);
  const waiting = Object.entries(chunk.waiting ?? {}).flatMap(([place, waits]) => {
    const [index = '0', part] = place.split('#');
    const at = Number(index) - from;
    if (at < 0 || at >= indexes.length) return [];
    return [[part === undefined ? String(at) : `${at}#${part}`, waits] as const];
  });
  return chunkOf(
    indexes.map((index) => messageAt(chunk, index)),
    chunk.machine,
    {
      redrive: chunk.redrive,
      suspect: true,
      ...more,
      ...(waiting.length > 0 && { waiting: Object.fromEntries(waiting) }),
    },
  );
}

/** The chunk as a person reads it in the queue UI. */
export function describeChunk(chunk: ChunkData): unknown {
  return {
    stream: chunk.stream,
    epoch: chunk.epoch,
    redrive: chunk.redrive,
    messages: chunk.positions.map((position, index) => ({
      message: messageId({ stream: chunk.stream, position }),
      time: new Date(chunk.times[index] ?? 0).toISOString(),
      state: chunk.waiting?.[index]?.state ?? 'received',
      ...(chunk.waiting?.[index] !== undefined && { waiting: chunk.waiting[index] }),
      value: readable(chunk.values[index] ?? null),
      ...(chunk.keys?.[index] != null && { key: chunk.keys[index] }),
      ...((chunk.headers?.[index]?.length ?? 0) > 0 && { headers: chunk.headers?.[index] }),
    })),
  };
}

function readable(value: Bytes | null): unknown {
  if (typeof value !== 'string' || value.length > 100_000) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
