/** The cluster's side of `memory-source.ts`: logs that a test fills, cuts short and makes anew, and the groups' commits. */
import { fail } from '../core/errors.ts';
import type { SourceRecord } from '../core/ports.ts';
import { MemoryGroup } from './memory-group.ts';

/** One partition's log; outlives the sources that read it, as a broker would. */
export interface MemoryLog {
  readonly logId: string;
  /** Offset of the first record. */
  readonly low: number;
  readonly records: readonly SourceRecord[];
}

/** The cluster's side: logs and commits, shared by sources. */
export class MemoryCluster {
  readonly clusterId: string;
  /** By `topic/partition`. */
  readonly logs = new Map<string, MemoryLog>();
  /** By `group topic/partition`. */
  readonly commits = new Map<string, string>();
  readonly #groups = new Map<string, MemoryGroup>();
  #made = 0;

  constructor(clusterId: string) {
    this.clusterId = clusterId;
  }

  /** Makes the log of a partition, anew if it is there: another log id, and no commits. */
  create(topic: string, partition: number): void {
    const place = placeOf(topic, partition);
    this.#made += 1;
    this.logs.set(place, { logId: `log-${this.#made}`, low: 0, records: [] });
    for (const key of this.commits.keys()) if (key.endsWith(` ${place}`)) this.commits.delete(key);
  }

  /** Adds records at the end. */
  append(topic: string, partition: number, records: readonly Omit<SourceRecord, 'offset'>[]): void {
    const log = this.log(topic, partition);
    const next = log.low + log.records.length;
    const added = records.map((record, index) => ({ ...record, offset: String(next + index) }));
    this.logs.set(placeOf(topic, partition), { ...log, records: [...log.records, ...added] });
  }

  /** Drops the records before an offset, as retention does. */
  dropBefore(topic: string, partition: number, offset: number): void {
    const log = this.log(topic, partition);
    const records = log.records.slice(Math.max(0, offset - log.low));
    this.logs.set(placeOf(topic, partition), { ...log, low: offset, records });
  }

  /** The group of this id, made when it is first asked for. */
  group(groupId: string): MemoryGroup {
    const known = this.#groups.get(groupId);
    if (known !== undefined) return known;
    const group = new MemoryGroup();
    this.#groups.set(groupId, group);
    return group;
  }

  log(topic: string, partition: number): MemoryLog {
    const log = this.logs.get(placeOf(topic, partition));
    if (log === undefined) throw fail('E_TOPIC_MISSING', { topic });
    return log;
  }
}

/** How a partition is named in the maps. */
export function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
