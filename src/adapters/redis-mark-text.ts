/** How a mark is written, and under which names: a hash per group, topic and partition, with fields per Kafka cluster. */
import { fail } from '../core/errors.ts';
import type { Mark, MarkName } from '../core/ports.ts';

/** Bumped when the text of a mark changes. */
export const MARK_FORMAT = 2;
/** Of a mark that stands where it says; 2 is one that was left behind when the partition went to another shard. */
const STANDING_FORMAT = 1;

/** What a text says. */
export interface MarkText {
  readonly mark: Mark;
  /** The shard that the mark has left for; undefined: it stands here. */
  readonly leftFor: number | undefined;
}

/** Names are encoded, so that no topic or group can read as another place. */
export function markKeyOf(prefix: string, { groupId, topic, partition }: MarkName): string {
  return `${prefix}:mark:${encodeURIComponent(groupId)}:${encodeURIComponent(topic)}:${partition}`;
}

/** Field of the mark itself. */
export function markFieldOf({ clusterId }: MarkName): string {
  return `cluster:${clusterId}`;
}

/** Field that counts how often it left a shard and came to one; not there: never. */
export function movesFieldOf({ clusterId }: MarkName): string {
  return `moves:${clusterId}`;
}

/** Always the same text for the same mark: the comparison is by text. '' for none. */
export function markTextOf(mark: Mark | null): string {
  if (mark === null) return '';
  const { epoch, enqueued, committed, logId } = mark;
  return JSON.stringify({ format: STANDING_FORMAT, epoch, enqueued, committed, logId });
}

/** A text that no mark in use has: whoever still moves from the old one is refused, and finds where it went. */
export function leftTextOf({ epoch, enqueued, committed, logId }: Mark, leftFor: number): string {
  return JSON.stringify({ format: MARK_FORMAT, epoch, enqueued, committed, logId, leftFor });
}

/** @throws `E_FORMAT_NEWER` */
export function readMarkText(text: string): MarkText {
  const found: unknown = JSON.parse(text);
  if (!isKnown(found))
    throw fail('E_FORMAT_NEWER', { what: 'mark', format: formatOf(found), known: MARK_FORMAT });
  const { epoch, enqueued, committed, logId, leftFor } = found;
  return { mark: { epoch, enqueued, committed, logId }, leftFor };
}

function formatOf(found: unknown): unknown {
  return typeof found === 'object' && found !== null && 'format' in found ? found.format : 'none';
}

function isKnown(found: unknown): found is Mark & { readonly leftFor?: number } {
  const format = formatOf(found);
  return format === STANDING_FORMAT || format === MARK_FORMAT;
}
