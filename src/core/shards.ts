/** Which shard of the queue something belongs to. A shard is a BullMQ queue with its marks and outboxes, all in one slot of Redis. */
import { fnv1a } from './fnv.ts';

export const MAX_SHARDS = 64;

/** A partition of a topic, or another stream that has a mark. */
export interface StreamPlace {
  readonly topic: string;
  readonly partition: number;
}

/**
 * The shard of a partition: the partitions of a topic go round, and the topic says where they begin, so that many topics of
 * one partition spread as well. The same in every process and version: jobs and marks are found by it.
 *
 * @param shards how many there are, at least 1
 */
export function shardOfPlace({ topic, partition }: StreamPlace, shards: number): number {
  return shards === 1 ? 0 : (partition + hashOf(topic)) % shards;
}

/** The shard of what has no partition: of a posted chunk, by its id. */
export function shardOfName(name: string, shards: number): number {
  return shards === 1 ? 0 : hashOf(name) % shards;
}

/**
 * The hash-tagged beginning of every key of a shard. The first one's is that of a queue without shards; no other queue's prefix
 * begins so, since none has a colon.
 *
 * @param prefix `queue.prefix`
 */
export function shardPrefix(prefix: string, shard: number): string {
  return shard === 0 ? `{${prefix}}` : `{${prefix}:${shard}}`;
}

/** Jobs that a process has in hand of one shard: an even part of `concurrency`, and at least one. */
export function shareOf(concurrency: number, shard: number, shards: number): number {
  const [whole, rest] = [Math.floor(concurrency / shards), concurrency % shards];
  return Math.max(1, shard < rest ? whole + 1 : whole);
}

/** Unsigned, 32 bits; where partitions and their marks are found depends on it. */
function hashOf(text: string): number {
  let hash = fnv1a(text);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 12)) >>> 0;
}
