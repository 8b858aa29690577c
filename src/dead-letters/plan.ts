import { createHash } from 'node:crypto';
import type { Message } from '../core/change.ts';
import { type ChunkData, chunkOf, type Waiting } from '../core/chunk.ts';
import { type LetterHead, partOf } from '../core/dead-letter.ts';
import type { DeadLetter, QueuedChunk, StoredLetter } from '../core/ports.ts';
import { compareDigits } from '../core/version.ts';

export interface PlanLimits {
  readonly maxChunkMessages: number;
  readonly maxChunkBytes: number;
}

/** Letters whose messages are redriven in one chunk: of one stream, epoch and redrive. */
export type Batch = readonly LetterHead[];

/**
 * Which letters go together. What is about one key stays together, in the order of the stream, so that of several
 * letters for a key the newest wins within its chunk, as it would have.
 */
export function planBatches(heads: readonly LetterHead[], limits: PlanLimits): Batch[] {
  const streams = Map.groupBy(heads, ({ origin, redrive }) => `${redrive} ${origin.epoch} ${origin.stream}`);
  return [...streams.values()].flatMap((letters) => cut(byKey(letters), limits));
}

/** Letters of one message or one key, the keys in the order of their first letters. */
function byKey(letters: readonly LetterHead[]): LetterHead[][] {
  const inOrder = letters.toSorted(comparePlaces);
  const groups = Map.groupBy(inOrder, ({ cacheKey, origin }) =>
    cacheKey === '' ? `@${origin.position}` : cacheKey,
  );
  return [...groups.values()];
}

function comparePlaces(a: LetterHead, b: LetterHead): number {
  return comparePositions(a.origin.position, b.origin.position) || partOf(a) - partOf(b);
}

/** Offsets and lines by number; ULIDs, all of one length, by their letters. */
function comparePositions(a: string, b: string): number {
  const isNumbers = /^\d+$/.test(a) && /^\d+$/.test(b);
  if (isNumbers) return compareDigits(a, b);
  return a === b ? 0 : a < b ? -1 : 1;
}

function cut(groups: readonly LetterHead[][], limits: PlanLimits): Batch[] {
  const batches: Batch[] = [];
  let batch: LetterHead[] = [];
  let bytes = 0;
  for (const group of groups) {
    const groupBytes = group.reduce((sum, head) => sum + head.bytes, 0);
    const isFull =
      batch.length + group.length > limits.maxChunkMessages || bytes + groupBytes > limits.maxChunkBytes;
    if (isFull && batch.length > 0) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(...group);
    bytes += groupBytes;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** Begins a letter's new run where its message is already known to hold several changes: only that one is redriven. */
const RESUME: Waiting = { state: 'parsed', attempts: 0, dueMs: 0, sinceMs: 0, error: '' };

/**
 * The chunk that redrives letters, all of one stream, epoch and redrive. The same letters make the same job id, so that a
 * redrive that died half-way and is asked for again enqueues nothing twice.
 */
export function chunkOfLetters(stored: readonly StoredLetter[], machine: string): QueuedChunk<ChunkData> {
  const letters = stored.map(({ letter }) => letter).toSorted(compareLetters);
  const messages: Message[] = [];
  const waiting: Record<string, Waiting> = {};
  let isWhole = false;
  for (const letter of letters) {
    const part = partOf(letter);
    if (messages.at(-1)?.origin.position !== letter.origin.position) {
      messages.push(messageOf(letter));
      isWhole = part === 0;
    }
    // A message that is read from its beginning brings all its parts along.
    if (!isWhole) waiting[`${messages.length - 1}#${part}`] = RESUME;
  }
  const redrive = (letters[0]?.redrive ?? 0) + 1;
  const { stream = '', position: first = '' } = letters[0]?.origin ?? {};
  const last = letters.at(-1)?.origin.position ?? '';
  const span = first === last ? first : `${first}–${last}`;
  return {
    id: `redrive.${redrive}.${idOfLetters(letters)}`,
    name: `${stream} ${span} (redrive ${redrive}, ${letters.length})`,
    data: chunkOf(messages, machine, { redrive, ...(Object.keys(waiting).length > 0 && { waiting }) }),
  };
}

function compareLetters(a: DeadLetter, b: DeadLetter): number {
  return comparePositions(a.origin.position, b.origin.position) || partOf(a) - partOf(b);
}

/** Deterministic, of letters BullMQ allows: where they stand, and a hash of which they are. */
export function idOfLetters(letters: readonly Pick<DeadLetter, 'origin' | 'message'>[]): string {
  const { stream = '', epoch = 0, position: first = '' } = letters[0]?.origin ?? {};
  const last = letters.at(-1)?.origin.position ?? '';
  const hash = createHash('sha256').update(JSON.stringify(letters.map(({ message }) => message)));
  const place = `${stream}.${epoch}.${first}-${last}`.replace(/[^A-Za-z0-9._-]/g, '_');
  return `${place}.${hash.digest('hex').slice(0, 12)}`;
}

function messageOf({ origin, timestampMs, key, value, headers }: DeadLetter): Message {
  return { origin, timestampMs, key, value, headers };
}
