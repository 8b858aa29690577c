import type { Bytes, Message } from '../core/change.ts';
import { CachewrightError, fail } from '../core/errors.ts';
import type { Clock, Mark, MarkName, MarkStore } from '../core/ports.ts';
import type { BackPressure } from '../ingest/back-pressure.ts';
import type { ChunkLimits } from '../ingest/cut.ts';
import type { Submit } from '../ingest/submit.ts';
import type { Input } from './input.ts';
import { linesOf } from './lines.ts';

export interface FileIngestOptions {
  readonly marks: Pick<MarkStore, 'settle' | 'read' | 'move'>;
  readonly submit: Submit;
  readonly backPressure: BackPressure;
  readonly limits: ChunkLimits;
  readonly clock: Clock;
}

export interface FileIngestCall {
  /** Repeat content that was ingested before, under a new epoch. */
  readonly again: boolean;
  /** Stops between two batches. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { bytes: number; messages: number; waitsFor: string }) => void;
  /** Told once for each pause. */
  readonly onWait: (reason: string) => void;
}

export interface FileIngestReport {
  /** `known`: everything was in the queue before. */
  readonly end: 'done' | 'known' | 'interrupted';
  /** Put into the queue by this call. */
  readonly messages: number;
  readonly isResumed: boolean;
  /** Line up to which an earlier call had come; 0: none. */
  readonly skippedTo: number;
  readonly epoch: number;
}

export type FileIngest = (input: Input, call: FileIngestCall) => Promise<FileIngestReport>;

const NOTHING: Mark = { epoch: 0, enqueued: '', committed: '', logId: '' };
const WAIT_MS = 250;
/** Tries of one batch while Redis does not confirm it, with a second between them. */
const TRIES = 5;
const TRY_AGAIN_MS = 1_000;

/**
 * Hands over the lines of a content in batches. A mark beside those of Kafka says how far it came: `enqueued` is the
 * last line in the queue, `committed` the last line of all once everything is. So an interrupted call is resumed, and a
 * repeated one does nothing. A batch that is sent twice has the same job ids.
 */
export function createFileIngest(options: FileIngestOptions): FileIngest {
  return async (input, call) => {
    const name: MarkName = { clusterId: 'file', groupId: 'ingest', topic: input.stream, partition: 0 };
    await options.marks.settle(name);
    const known = await options.marks.read(name);
    if (known !== null && known.committed !== '' && !call.again) {
      const skippedTo = Number(known.committed);
      return { end: 'known', messages: 0, isResumed: false, skippedTo, epoch: known.epoch };
    }
    const isNew = known === null || call.again;
    let mark = isNew ? { ...NOTHING, epoch: known === null ? 0 : known.epoch + 1 } : known;
    if (isNew) await move(options, name, known, mark);
    const { epoch } = mark;
    const skippedTo = Number(mark.enqueued);
    const report = { messages: 0, isResumed: skippedTo > 0, skippedTo, epoch };
    for await (const batch of batchesOf(input, skippedTo, options.limits)) {
      await waitForRoom(options, call, batch.bytesBefore, report.messages);
      if (call.signal.aborted) return { ...report, end: 'interrupted' };
      await submit(options, input, epoch, batch.lines);
      const enqueued = String(batch.lines.at(-1)?.number ?? 0);
      await move(options, name, mark, { ...mark, enqueued });
      mark = { ...mark, enqueued };
      report.messages += batch.lines.length;
      call.onProgress({ bytes: batch.bytesAfter, messages: report.messages, waitsFor: '' });
    }
    await move(options, name, mark, { ...mark, committed: mark.enqueued === '' ? '0' : mark.enqueued });
    return { ...report, end: 'done' };
  };
}

interface NumberedLine {
  readonly number: number;
  readonly value: Bytes;
}

interface Batch {
  readonly lines: readonly NumberedLine[];
  /** About how far into the content it begins and ends. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

async function* batchesOf(input: Input, skipTo: number, limits: ChunkLimits): AsyncGenerator<Batch> {
  let lines: NumberedLine[] = [];
  let [bytes, from] = [0, 0];
  for await (const line of linesOf(input.read())) {
    const size = typeof line.value === 'string' ? line.value.length : line.value.base64.length;
    if (line.number > skipTo) {
      const isFull = lines.length >= limits.maxChunkMessages || bytes + size - from > limits.maxChunkBytes;
      if (isFull && lines.length > 0) {
        yield { lines, bytesBefore: from, bytesAfter: bytes };
        lines = [];
        from = bytes;
      }
      lines.push(line);
    } else from = bytes + size + 1;
    bytes += size + 1;
  }
  if (lines.length > 0) yield { lines, bytesBefore: from, bytesAfter: bytes };
}

async function waitForRoom(
  { backPressure, clock }: FileIngestOptions,
  { signal, onProgress, onWait }: FileIngestCall,
  bytes: number,
  messages: number,
): Promise<void> {
  let isTold = false;
  for (;;) {
    const reason = await backPressure.reason();
    if (reason === '' || signal.aborted) return;
    if (!isTold) onWait(reason);
    isTold = true;
    onProgress({ bytes, messages, waitsFor: reason });
    await clock.sleep(WAIT_MS);
  }
}

async function submit(
  options: FileIngestOptions,
  { stream }: Input,
  epoch: number,
  lines: readonly NumberedLine[],
): Promise<void> {
  const timestampMs = Math.floor(options.clock.now());
  const messages = lines.map(
    ({ number, value }): Message => ({
      origin: { stream, epoch, position: String(number) },
      timestampMs,
      key: null,
      value,
      headers: [],
    }),
  );
  for (let made = 1; ; made += 1) {
    try {
      await options.submit(messages, {
        idPrefix: `${stream}.${epoch}`,
        place: { topic: stream, partition: 0 },
      });
      return;
    } catch (thrown) {
      const isWorthIt = thrown instanceof CachewrightError && thrown.code === 'E_ENQUEUE_FAILED';
      if (!isWorthIt || made === TRIES) throw thrown;
      await options.clock.sleep(TRY_AGAIN_MS);
    }
  }
}

async function move(
  { marks }: FileIngestOptions,
  name: MarkName,
  from: Mark | null,
  to: Mark,
): Promise<void> {
  if (!(await marks.move(name, from, to))) throw fail('E_MARK_MOVED', { stream: name.topic });
}
