/** Bytes outside these are written as `%XX`. BullMQ forbids `:` in ids; `.` separates the parts of ours. */
const PLAIN = /[^A-Za-z0-9_-]/gu;

/**
 * A name as a part of a job id. Different names give different parts, and no part holds a `.` or a `:`.
 */
export function idPart(name: string): string {
  return name.replace(PLAIN, (character) =>
    [...Buffer.from(character, 'utf8')]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}

/** Where a chunk of a partition stands. */
export interface ChunkPlace {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly epoch: number;
  /** Offsets of the first and last message, decimal. */
  readonly first: string;
  readonly last: string;
  /** Name of the replay that enqueues it once more; letters and digits. */
  readonly replay?: string;
}

/**
 * The deterministic job id of a chunk: `group.topic.partition.epoch.first-last`, with `.r<name>` behind it in a replay.
 * Topics keep their dots, which cannot mislead: the group has none, and what follows the topic is all digits.
 */
export function chunkId({ group, topic, partition, epoch, first, last, replay }: ChunkPlace): string {
  const id = `${partitionPart({ group, topic, partition })}.${epoch}.${first}-${last}`;
  return replay === undefined ? id : `${id}.r${replay}`;
}

/** How the ids of a partition's jobs begin. */
export function partitionPart({
  group,
  topic,
  partition,
}: Pick<ChunkPlace, 'group' | 'topic' | 'partition'>): string {
  return `${idPart(group)}.${topic.split('.').map(idPart).join('.')}.${partition}`;
}

/** The job's name in the queue UI: `cache-message/0 1200–1327`. */
export function chunkName({ topic, partition, first, last, replay }: ChunkPlace): string {
  const name = first === last ? `${topic}/${partition} ${first}` : `${topic}/${partition} ${first}–${last}`;
  return replay === undefined ? name : `${name} replayed`;
}
