/** Which messages a replay enqueues once more, per partition. Pure: whoever asks has looked at the log and the marks. */
import { fail } from '../core/errors.ts';
import type { LogBounds, Mark } from '../core/ports.ts';

/** One partition's part of a replay: the messages from `from` up to but without `end`. */
export interface ReplayRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: string;
  /** Where live ingest stood when the replay was planned: what comes behind it is not the replay's. */
  readonly end: string;
  /** The mark's: a message keeps its place in the order of its stream, see docs/adr/0007. */
  readonly epoch: number;
  readonly logId: string;
  /** Messages asked for that retention has removed. */
  readonly lost: number;
}

export interface ReplayRequest {
  readonly topic: string;
  /** The log of every partition of the topic. */
  readonly logs: ReadonlyMap<number, LogBounds>;
  /** The live group's marks. */
  readonly marks: ReadonlyMap<number, Mark | null>;
  /** First offsets by partition: only these partitions are replayed; undefined: all, from their beginning. */
  readonly from: ReadonlyMap<number, string> | undefined;
  /** Only these partitions; undefined: all that `from` names. */
  readonly only?: readonly number[] | undefined;
}

/**
 * A range for every partition asked for, empty ones too. It always goes up to where live ingest stands: a range that
 * ended earlier could leave a key at an old state for good where nothing but the order of the messages tells new from old.
 *
 * @throws `E_REPLAY_REFUSED` for a partition that is not there, or that live ingest has not yet taken
 */
export function planReplay({ topic, logs, marks, from, only }: ReplayRequest): ReplayRange[] {
  const wanted = from === undefined ? [...logs.keys()] : [...from.keys()];
  const missing = [...wanted, ...(only ?? [])].find((partition) => !logs.has(partition));
  if (missing !== undefined) throw refused(topic, missing, 'the topic has no such partition');
  return wanted
    .filter((partition) => only === undefined || only.includes(partition))
    .toSorted((a, b) => a - b)
    .map((partition) => {
      const bounds = logs.get(partition) ?? { low: '0', high: '0', logId: '' };
      return rangeOf(topic, partition, bounds, marks.get(partition) ?? null, from?.get(partition));
    });
}

function rangeOf(
  topic: string,
  partition: number,
  bounds: LogBounds,
  mark: Mark | null,
  from: string | undefined,
): ReplayRange {
  if (mark === null) {
    if (bounds.low === bounds.high) return empty(topic, partition, bounds);
    throw refused(
      topic,
      partition,
      'its messages were never taken in, so nothing of it can be taken in again',
    );
  }
  if (mark.logId !== '' && bounds.logId !== '' && mark.logId !== bounds.logId) {
    throw refused(topic, partition, 'the topic was made anew; ingest reads it from its beginning by itself');
  }
  const [low, high] = [BigInt(bounds.low), BigInt(bounds.high)];
  const end = least(high, most(low, nextOf(mark) ?? low));
  const asked = from === undefined ? low : BigInt(from);
  const first = least(end, most(low, asked));
  return {
    topic,
    partition,
    from: String(first),
    end: String(end),
    epoch: mark.epoch,
    logId: bounds.logId,
    lost: asked < low ? Number(low - asked) : 0,
  };
}

/** Offset after the last one enqueued; before the first of an epoch: where that began. */
function nextOf(mark: Mark): bigint | null {
  if (mark.enqueued !== '') return BigInt(mark.enqueued) + 1n;
  return mark.committed === '' ? null : BigInt(mark.committed);
}

function empty(topic: string, partition: number, { low, logId }: LogBounds): ReplayRange {
  return { topic, partition, from: low, end: low, epoch: 0, logId, lost: 0 };
}

function refused(topic: string, partition: number, reason: string): ReturnType<typeof fail> {
  return fail('E_REPLAY_REFUSED', { topic, partition, reason });
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Offsets between the two ends; a compacted topic or one with transactions has fewer messages. */
export function lengthOf({ from, end }: Pick<ReplayRange, 'from' | 'end'>): number {
  return Number(BigInt(end) - BigInt(from));
}
