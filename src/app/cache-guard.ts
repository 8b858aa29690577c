import { createKafkaLogs } from '../adapters/kafka-logs.ts';
import { createRedisTierMarks } from '../adapters/redis-tier-mark.ts';
import type { KafkaConfig } from '../config/schema.ts';
import { CachewrightError, reasonOf } from '../core/errors.ts';
import type { Log, TierMarks } from '../core/ports.ts';
import type { ReplayRange } from '../ingest/replay-plan.ts';
import { createTierGuard, type GuardedPartition, type TierFall } from '../ingest/tier-guard.ts';
import { createTierRepair } from '../ingest/tier-repair.ts';
import { kafkaConnection } from './kafka-connection.ts';
import type { Parts } from './parts.ts';
import { QUEUE } from './queue-shards.ts';
import { createReplays, type Replays } from './replay.ts';

/** Time between two beats. A cache that lost less than this is noticed by its restart. */
const BEAT_MS = 2_000;
/** How long the list of partitions serves: new ones are new in the cache as well. */
const PARTITIONS_MS = 60_000;
/** Messages a second of a repair: readers get old records until it is through, and live messages share the queue with it. */
const REPAIR_PER_SECOND = 5_000;

/** Watches whether the cache's Redis keeps up with the queue's. */
export interface CacheGuard {
  close(): Promise<void>;
}

/**
 * Begins to watch, where the cache has a Redis of its own. An instance that takes messages in from Kafka beats and repairs;
 * the others only drop their local tier when one of them has found the cache behind.
 */
export function startCacheGuard(parts: Parts): CacheGuard | undefined {
  const { config, connections, prefix, shards } = parts;
  if (config.redis.cache.url === config.redis.url) return undefined;
  const tierMarks = createRedisTierMarks({
    queueRedis: connections.queue,
    cacheRedis: connections.cache,
    prefix,
    queues: () => shards.all().map((shard) => shard.prefix),
    queue: QUEUE,
  });
  const resync = createResync(parts, tierMarks);
  const keeper =
    config.kafka !== undefined && config.roles.includes('ingest')
      ? createKeeper(parts, config.kafka, tierMarks)
      : undefined;
  return beatUntilClosed(
    parts,
    [...(keeper === undefined ? [] : [() => keeper.look()]), resync],
    async () => {
      await keeper?.close();
    },
  );
}

function beatUntilClosed(
  { clock, log }: Parts,
  steps: readonly (() => Promise<void>)[],
  close: () => Promise<void>,
): CacheGuard {
  const stop = new AbortController();
  const beat = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      for (const step of steps) {
        // A Redis that is away is told of by its connection, and looked at again.
        await step().catch((error: unknown) =>
          log.debug({ reason: reasonOf(error) }, 'no beat of the tier mark'),
        );
      }
      await clock.sleep(BEAT_MS, stop.signal).catch(() => undefined);
    }
  };
  const ended = beat();
  return {
    async close() {
      stop.abort();
      await close();
      await ended;
    },
  };
}

/** Drops the local tier when the cache fell behind: what it announced and lost would never be announced again. */
function createResync({ localTier, log }: Parts, tierMarks: TierMarks): () => Promise<void> {
  let known: number | undefined;
  return async () => {
    const { falls } = (await tierMarks.queueBeat()) ?? { falls: 0 };
    if (known !== undefined && falls !== known) {
      localTier.clear();
      log.info({ falls }, 'the local tier begins anew');
    }
    known = falls;
  };
}

function createKeeper(parts: Parts, kafka: KafkaConfig, tierMarks: TierMarks) {
  const { config, queue, machine, instance, clock, log, events } = parts;
  const marks = parts.shards.marks();
  const logs = createKafkaLogs(kafkaConnection(kafka, log));
  const replays = createReplays({ config, kafka, queue, marks, machine, clock, log });
  const closed = new AbortController();
  const guard = createTierGuard({
    marks,
    tierMarks,
    groupId: kafka.groupId,
    name: instance,
    partitions: rememberedFor(
      PARTITIONS_MS,
      () => clock.now(),
      async () => {
        const clusterId = await logs.clusterId();
        const perTopic = kafka.topics.map(async ({ name: topic }) =>
          (await logs.partitions(topic)).map(
            (partition): GuardedPartition => ({ clusterId, topic, partition }),
          ),
        );
        return (await Promise.all(perTopic)).flat();
      },
    ),
    onBehind: config.redis.cache.onBehind,
    onFall: (fall) => tellFall(parts, fall),
  });
  const repair = createTierRepair({
    tierMarks,
    holder: instance,
    replayTopic: (topic, from, reached) => replayInto(replays, topic, from, reached, closed.signal, log),
    onRepaired() {
      log.info({}, 'all that the cache may have lost is in the queue once more');
      events.emit('cache', { what: 'repaired', detail: '' });
    },
    log,
  });
  let repairing: Promise<void> | undefined;
  return {
    async look(): Promise<void> {
      await guard.look();
      repairing ??= repair()
        .catch((error: unknown) => log.debug({ reason: reasonOf(error) }, 'the repair of the cache waits'))
        .finally(() => {
          repairing = undefined;
        });
    },
    async close(): Promise<void> {
      closed.abort();
      await repairing;
      await replays.close();
      await logs.close();
      marks.close();
    },
  };
}

async function replayInto(
  replays: Replays,
  topic: string,
  offsets: ReadonlyMap<number, string>,
  reached: (partition: number, next: string) => Promise<boolean>,
  closed: AbortSignal,
  log: Log,
): Promise<void> {
  const changed = new AbortController();
  const signal = AbortSignal.any([closed, changed.signal]);
  const ranges: ReplayRange[] = [];
  for (const at of offsets) ranges.push(...(await planPartition(replays, topic, new Map([at]))));
  const lost = ranges.reduce((sum, range) => sum + range.lost, 0);
  if (lost > 0)
    log.error(
      { topic, lost },
      'the cache lost messages that Kafka has removed since: they stay lost until they change',
    );
  await replays.run(topic, REPAIR_PER_SECOND, {
    ranges,
    signal,
    onProgress: async ({ partition, next }) => {
      if (!(await reached(partition, next))) changed.abort();
    },
    onWait: () => undefined,
  });
  signal.throwIfAborted();
}

async function planPartition(
  replays: Replays,
  topic: string,
  offsets: ReadonlyMap<number, string>,
): Promise<readonly ReplayRange[]> {
  try {
    return await replays.plan(topic, { kind: 'offsets', offsets });
  } catch (error) {
    // Ingest reads such a partition from its beginning by itself.
    if (error instanceof CachewrightError && error.code === 'E_REPLAY_REFUSED') return [];
    throw error;
  }
}

function tellFall({ log, events, config }: Parts, { kind, beats, from }: TierFall): void {
  const { onBehind } = config.redis.cache;
  const what = {
    behind: 'the Redis of the cache is behind that of the queue: it was restored or failed over',
    restarted: 'the Redis of the cache was started anew or replaced, and may have lost its last writes',
    empty: 'the Redis of the cache has no tier mark: it was emptied, or is another',
  }[kind];
  const then =
    onBehind === 'replay'
      ? 'what it may have lost is replayed from Kafka; changes that were posted or read from files since then are to be sent again'
      : 'nothing is done about it (redis.cache.onBehind): it serves old records until they change, or `cachewright replay` is run';
  const fields = { kind, beats, from, onBehind };
  if (kind === 'restarted') log.warn(fields, `${what}; ${then}`);
  else log.error(fields, `${what}; ${then}`);
  events.emit('cache', { what: kind, detail: JSON.stringify({ beats, from }) });
}

function rememberedFor<T>(ms: number, now: () => number, ask: () => Promise<T>): () => Promise<T> {
  let known: { readonly value: T; readonly untilMs: number } | undefined;
  return async () => {
    if (known === undefined || known.untilMs < now()) known = { value: await ask(), untilMs: now() + ms };
    return known.value;
  };
}
