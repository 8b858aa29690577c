import { queueKeys } from '../../src/adapters/bullmq-keys.ts';
import { QUEUE } from '../../src/app/queue-shards.ts';
import { FINAL } from '../support/app.ts';
import { waitFor } from '../support/servers/process.ts';
import { withAdmin } from '../support/servers/kafka-tools.ts';
import { coherenceOf } from './fleet.ts';
import type { LoadKey } from './load.ts';
import { type Look, markOf, readRecord, sampleRedis } from './sampling.ts';
import type { World } from './world.ts';

/**
 * How long instances may take to hear of what was written, milliseconds: reading fifty records of each on a busy machine, and
 * one that was cut off finds the invalidation log anew. Time to live is of no help, see `LOCAL_TTL_MS`.
 */
const LOCAL_MS = 20_000;

/** What is there when all has come to rest, or when waiting for it was given up. */
export interface Settled {
  /** Every message that is in the topic, by id. */
  readonly written: readonly string[];
  readonly redis: readonly Look[];
  readonly local: readonly Look[];
  readonly atMs: number;
  /** Why it is not at rest; '' when it is. */
  readonly unrest: string;
}

/** Waits until everything written is final and the tiers agree, and says what they hold; never fails. */
export async function settle(world: World, keys: readonly LoadKey[], timeoutMs: number): Promise<Settled> {
  const unrest: string[] = [];
  const rest = async (what: string, ms: number, isAtRest: () => Promise<boolean>): Promise<void> => {
    if (unrest.length > 0) return;
    const options = { what, timeoutMs: ms, everyMs: 250 };
    await waitFor(isAtRest, options).catch((error: unknown) => void unrest.push(String(error)));
  };
  const ends = await waitFor(() => endsOf(world), { what: 'Kafka to answer', timeoutMs: 60_000 });
  const written = ends.flatMap(({ partition, next }) =>
    Array.from({ length: next }, (_, offset) => `${world.topic}-${partition}@${offset}`),
  );
  await rest('every message to be final', timeoutMs, () => areFinal(world, written));
  let redis: readonly Look[] = [];
  await rest('Redis to hold the newest', timeoutMs, async () => {
    redis = await sampleRedis(world, keys);
    return keys.every(({ text }, index) => redis[index]?.text === text) && (await isIdle(world, ends));
  });
  if (redis.length === 0) redis = await sampleRedis(world, keys).catch(() => []);
  let local: Look[] = [];
  await rest('the instances to hear and to serve the newest', LOCAL_MS, async () => {
    // A blind instance asks Redis: what it answers says nothing about its local tier.
    if (!world.alive().every((instance) => coherenceOf(instance)?.state === 'fresh')) return false;
    local = await readAll(world, keys);
    const newest = new Map(keys.map(({ key, text }) => [key, text]));
    return local.every(({ key, text }) => text === newest.get(key));
  });
  return { written, redis, local, atMs: Date.now(), unrest: unrest.join('; ') };
}

interface LogEnd {
  readonly partition: number;
  /** Offset that the next message gets. */
  readonly next: number;
}

async function endsOf({ kafka, topic }: World): Promise<LogEnd[]> {
  const offsets = await withAdmin(kafka.brokers, (admin) => admin.fetchTopicOffsets(topic));
  return offsets.map(({ partition, high }) => ({ partition, next: Number(high) }));
}

async function areFinal({ books }: World, written: readonly string[]): Promise<boolean> {
  const ended = new Set(
    (await books.rows()).filter(({ state }) => FINAL.has(state)).map(({ message }) => message),
  );
  return written.every((message) => ended.has(message));
}

/** Everything is in the queue by the marks (after a rollback: once more), and nothing waits in Redis. */
async function isIdle(world: World, ends: readonly LogEnd[]): Promise<boolean> {
  const { books, look, config } = world;
  const { auditOutbox, deadOutbox } = queueKeys(`{${config.queue.prefix}}`, QUEUE);
  const marks = await Promise.all(ends.map(({ partition }) => markOf(world, partition)));
  if (!ends.every(({ next }, index) => next === 0 || marks[index] === String(next - 1))) return false;
  const [jobs, audit, dead] = await Promise.all([
    books.openJobs(),
    look.xlen(auditOutbox),
    look.xlen(deadOutbox),
  ]);
  return jobs + audit + dead === 0;
}

/** Every key as every living instance serves it. */
async function readAll(world: World, keys: readonly LoadKey[]): Promise<Look[]> {
  const looks: Look[] = [];
  for (const instance of world.alive()) for (const key of keys) looks.push(await readRecord(instance, key));
  return looks;
}
