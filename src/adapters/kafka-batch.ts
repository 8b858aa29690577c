import type { EachBatchPayload, KafkaMessage } from 'kafkajs';
import { fail } from '../core/errors.ts';
import type { SourceBatch, SourcePartition, SourceRecord } from '../core/ports.ts';

const NO_HEADERS: SourceRecord['headers'] = [];

/** What a batch needs from the source that got it. */
export interface BatchContext {
  readonly look: SourcePartition;
  readonly signal: AbortSignal;
  /** Whether the membership that got the batch still lasts. */
  readonly isMember: () => boolean;
  /** Called when a heartbeat or commit failed: the membership may be over, for the other partitions too. */
  readonly onLost: (error: unknown) => void;
  readonly onCommitted: (next: string) => void;
}

/** One batch of kafkajs behind the port. */
export function toSourceBatch(payload: EachBatchPayload, context: BatchContext): SourceBatch {
  const { batch } = payload;
  const { topic, partition } = batch;
  const { look, signal, isMember, onLost, onCommitted } = context;
  const guarded = async (work: Promise<void>): Promise<void> => {
    try {
      await work;
    } catch (error) {
      onLost(error);
      throw error;
    }
  };
  let resolved = -1n;
  /** Forwards only: kafkajs itself would let a late call take the place back. */
  const resolve = (offset: string): void => {
    if (BigInt(offset) <= resolved) return;
    resolved = BigInt(offset);
    payload.resolveOffset(offset);
  };
  return {
    topic,
    partition,
    records: batch.messages.map(toRecord),
    highWatermark: batch.highWatermark,
    generation: look.generation,
    signal,
    heartbeat: () => guarded(payload.heartbeat()),
    committed: () => look.committed(),
    bounds: () => look.bounds(),
    seek: (offset) => look.seek(offset),
    pause: () => look.pause(),
    resolve,
    async commit(offset) {
      // kafkajs commits in the name of whatever membership it has by now, and brokers do not ask whose the partition is:
      // a late commit would take back what the next owner has committed, which looks like an operator's rewind.
      if (!isMember()) throw fail('E_ABORTED', { reason: 'the membership that got this batch is over' });
      resolve(offset);
      const next = String(BigInt(offset) + 1n);
      // Without arguments kafkajs commits nothing here; with all partitions it would commit those of other handlers.
      await guarded(
        payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset: next }] }] }),
      );
      onCommitted(next);
    },
  };
}

function toRecord({ offset, timestamp, key, value, headers }: KafkaMessage): SourceRecord {
  return {
    offset,
    timestampMs: Number(timestamp),
    key,
    value,
    headers: headers === undefined ? NO_HEADERS : headersOf(headers),
  };
}

/** kafkajs gathers headers of one name in an array; the port keeps a list. */
function headersOf(headers: NonNullable<KafkaMessage['headers']>): SourceRecord['headers'] {
  const names = Object.keys(headers);
  if (names.length === 0) return NO_HEADERS;
  return names.flatMap((name) => {
    const found = headers[name];
    const values = Array.isArray(found) ? found : [found];
    return values.map((value) => [name, Buffer.isBuffer(value) ? value : Buffer.from(value ?? '')] as const);
  });
}
