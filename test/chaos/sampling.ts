import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { decodeFence, fenceKeyOf } from '../../src/core/fence.ts';
import { formatVersion } from '../../src/core/version.ts';
import type { Instance } from './fleet.ts';
import type { LoadKey } from './load.ts';
import type { LevelSample, OffsetSample, ReaderSample } from '../reliability/history.ts';
import type { World } from './world.ts';

/** A look at one key, with what was served; the fence where the reader can see it. */
export type Look = ReaderSample & { readonly text: string | null; readonly fence: string | null };

export interface Sampling {
  readonly samples: readonly Look[];
  readonly offsets: readonly OffsetSample[];
  readonly levels: readonly LevelSample[];
  stop(): Promise<void>;
}

/** An instance takes about 150 MB with a few hundred messages in hand; a leak of a run's messages would show. */
const MAX_RSS_BYTES = 512 * 1024 ** 2;
/** `queue.highWaterJobs`, where ingest pauses, and what is on its way by then. */
const MAX_OPEN_JOBS = 2_200;

const READ_EVERY_MS = 60;
/** Keys asked of each instance at a time. */
const KEYS_PER_READ = 6;
const OFFSETS_EVERY_MS = 500;
/** A stopped process takes connections and never answers. */
const HTTP_TIMEOUT_MS = 1_500;

/** Readers and onlookers that poll all through a run; faults make them miss a look, not stop. */
export function startSampling(world: World, keys: readonly LoadKey[]): Sampling {
  const samples: Look[] = [];
  const offsets: OffsetSample[] = [];
  const stop = new AbortController();
  const levels: LevelSample[] = [];
  const repeat = async (everyMs: number, look: () => Promise<void>): Promise<void> => {
    while (!stop.signal.aborted) {
      await look().catch(() => undefined); // away, or dying just now
      await delay(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  };
  const readRedis = async (): Promise<void> => void samples.push(...(await sampleRedis(world, keys)));
  const readInstances = async (): Promise<void> => {
    const read = async (instance: Instance): Promise<void> => {
      for (let count = 0; count < KEYS_PER_READ; count += 1) {
        const key = keys[Math.floor(Math.random() * keys.length)];
        if (key !== undefined) samples.push(await readRecord(instance, key));
      }
    };
    await Promise.allSettled(world.alive().map(read));
  };
  const measure = async (): Promise<void> => {
    for (const { pid, name } of world.alive())
      levels.push({
        what: `memory of ${name}`,
        value: rssOf(pid),
        bound: MAX_RSS_BYTES,
        atMs: Date.now(),
      });
    const value = await world.books.openJobs();
    levels.push({ what: 'jobs of the queue', value, bound: MAX_OPEN_JOBS, atMs: Date.now() });
  };
  const admin = openAdmin(world);
  const readOffsets = async (): Promise<void> => void offsets.push(...(await sampleOffsets(world, admin)));
  const running = [
    repeat(READ_EVERY_MS, readRedis),
    repeat(READ_EVERY_MS, readInstances),
    repeat(OFFSETS_EVERY_MS, measure),
    repeat(OFFSETS_EVERY_MS, readOffsets),
  ];
  return {
    samples,
    offsets,
    levels,
    async stop() {
      stop.abort();
      await Promise.all(running);
      await admin.disconnect().catch(() => undefined);
    },
  };
}

/** All keys at one moment: value and fence are read in one command. */
export async function sampleRedis(world: World, keys: readonly LoadKey[]): Promise<Look[]> {
  const names = keys.map(({ key }) => key);
  const texts = await world.look.mget([...names, ...names.map(fenceKeyOf)]);
  const atMs = Date.now();
  return names.map((key, index) => {
    const fence = texts[names.length + index] ?? null;
    const decoded = decodeFence(fence ?? '');
    const version = decoded?.version == null ? '' : formatVersion(decoded.version);
    const text = texts[index] ?? null;
    return { reader: 'redis', tier: 'redis', key, version, isPresent: text !== null, text, fence, atMs };
  });
}

/** As a client gets it: `GET /v1/records/:service/:id`. */
export async function readRecord(instance: Instance, { key, service, id }: LoadKey): Promise<Look> {
  const sinceMs = Date.now();
  const response = await fetch(`${instance.url}/v1/records/${service}/${id}`, {
    signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
  });
  const text = await response.text();
  if (response.status !== 200 && response.status !== 404) throw new Error(`${response.status}: ${text}`);
  const isThere = response.status === 200;
  const cache = response.headers.get('x-cache');
  return {
    reader: instance.name,
    tier: cache === 'local' ? 'local' : 'redis',
    key,
    // What says that it is stale promises nothing; what Redis did not take has no version or comes from the source.
    version:
      isThere && cache !== 'stale' && cache !== 'source' ? (response.headers.get('x-version') ?? '') : '',
    isPresent: isThere,
    text: isThere ? text : null,
    fence: null,
    sinceMs,
    atMs: Date.now(),
  };
}

function openAdmin({ kafka }: World): Admin {
  return new Kafka({
    clientId: 'chaos-onlooker',
    brokers: [...kafka.brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
    requestTimeout: 2_000,
  }).admin();
}

/** The commit is read first: the mark only grows meanwhile. */
async function sampleOffsets(world: World, admin: Admin): Promise<OffsetSample[]> {
  const { topic, groupId } = world;
  await admin.connect();
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  const atMs = Date.now();
  return Promise.all(
    (found?.partitions ?? []).map(async ({ partition, offset }) => {
      const committed = offset === '-1' ? null : offset;
      const enqueued = await markOf(world, partition);
      return { group: groupId, topic, partition, committed, enqueued, atMs };
    }),
  );
}

/** Last offset in the queue by the mark in Redis; '' none, null: there is no mark. */
export async function markOf(
  { topic, groupId, look, config }: World,
  partition: number,
): Promise<string | null> {
  const fields = await look.hgetall(`{${config.queue.prefix}}:mark:${groupId}:${topic}:${partition}`);
  const mark = Object.entries(fields).find(([name]) => name.startsWith('cluster:'))?.[1];
  return mark === undefined ? null : (JSON.parse(mark) as { readonly enqueued: string }).enqueued;
}

function rssOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) * 1_024;
}
