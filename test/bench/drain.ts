import { withAdmin } from '../support/servers/kafka-tools.ts';
import { waitFor } from '../support/servers/process.ts';
import { staleIds } from './check.ts';
import type { Sample } from './figures.ts';
import type { BenchRedis, Lab } from './lab.ts';
import { type Load, produce } from './load.ts';
import { startMeter } from './meter.ts';
import type { Pipeline, RunningPipeline } from './pipeline.ts';

/** A topic with a load in it, to be consumed by one group after the other. */
export interface Backlog {
  readonly topic: string;
  readonly partitions: number;
  readonly load: Load;
}

export interface DrainOptions<Running extends RunningPipeline = RunningPipeline> {
  /** More to measure or to check while everything still runs. */
  readonly inspect?: (running: Running, redis: BenchRedis) => Promise<Record<string, number>>;
  /** Ids whose value is missing or old. @defaultValue every product key of the load */
  readonly stale?: (redis: BenchRedis) => Promise<number[]>;
  /** When it is over. @defaultValue the pipeline says it is through with every message */
  readonly isOver?: (running: Running, redis: BenchRedis) => Promise<boolean>;
  /** Messages the speed is computed from. @defaultValue all of the load */
  readonly counted?: number;
  /** @defaultValue one Redis, fresh */
  readonly openRedis?: () => Promise<BenchRedis>;
  /** Whether the pipeline's own books can be asked for. @defaultValue true */
  readonly hasBooks?: boolean;
}

/** No pipeline may take longer for a backlog. */
const DEADLINE_MS = 15 * 60_000;

/** A pipeline that gets through with nothing for so long is stuck. */
const STUCK_AFTER_MS = 30_000;

/** Pause between two looks at the progress. */
const LOOK_EVERY_MS = 20;

export async function fillBacklog(lab: Lab, load: Load, partitions: number): Promise<Backlog> {
  const kafka = await lab.kafka();
  const topic = lab.fresh('backlog');
  await kafka.createTopic(topic, { partitions });
  // Metadata names leaders before they lead; a produce request that meets one of those is sent again as a whole.
  await waitFor(() => endOf(kafka.brokers, topic), { what: `${topic} to be led`, timeoutMs: 30_000 });
  lab.say(`writing ${load.messages.toLocaleString('en')} messages`);
  await produce(kafka.brokers, topic, partitions, load);
  const written = await endOf(kafka.brokers, topic);
  if (written !== load.messages)
    throw new Error(
      `the topic has ${written} messages instead of ${load.messages}: the producer repeated some`,
    );
  return { topic, partitions, load };
}

/** Messages in all partitions. */
function endOf(brokers: readonly string[], topic: string): Promise<number> {
  return withAdmin(brokers, async (admin) => {
    const partitions = await admin.fetchTopicOffsets(topic);
    return partitions.reduce((sum, { high }) => sum + Number(high), 0);
  });
}

/**
 * Lets a pipeline work off a backlog from fresh state. The clock runs from the moment Kafka says that its first process
 * is in the group, for every subject alike: starting that process is not part of the speed; warming up is, and so is
 * the start of a fleet's other processes, since the first works meanwhile.
 */
export async function drain<Running extends RunningPipeline>(
  lab: Lab,
  backlog: Backlog,
  pipeline: Pipeline<Running>,
  options: DrainOptions<Running> = {},
): Promise<Sample> {
  const { load, topic, partitions } = backlog;
  const { counted = load.messages } = options;
  const kafka = await lab.kafka();
  const redis = await (options.openRedis ?? lab.redis)();
  const groupId = lab.fresh(pipeline.name);
  const running = pipeline.start({ brokers: kafka.brokers, topic, partitions, groupId, redis });
  try {
    await untilJoined(kafka.brokers, groupId, running);
    const meter = startMeter(running, redis, kafka.pid);
    const { isOver = async () => (await running.done()) >= load.messages } = options;
    const mustMove = createStuckWatch(running);
    const look = async (): Promise<boolean> => (await isOver(running, redis)) || mustMove();
    await untilOver(running, look, `${pipeline.name} to be through`);
    const { elapsedMs, cpu } = meter.stop(counted);

    const stale = await (options.stale?.(redis) ?? staleIds(redis.client, load.newest()));
    if (stale.length > 0 && pipeline.isFenced)
      throw new Error(
        `${stale.length} keys are not at their newest version, e.g. ${stale.slice(0, 5).join(', ')}`,
      );
    if (options.hasBooks !== false) await running.verify(load.messages);
    const members = await membersOf(kafka.brokers, groupId);
    if (members !== pipeline.members)
      throw new Error(`${members} processes were in the group at the end, not ${pipeline.members}`);
    const extra = (await options.inspect?.(running, redis)) ?? {};
    const notes =
      stale.length > 0
        ? [`${pipeline.name} left ${stale.length} keys at an older version: it has no fence`]
        : [];
    return { metrics: { throughput: (counted * 1_000) / elapsedMs, ...extra }, cpu, notes };
  } finally {
    await running.stop();
    await redis.stop();
  }
}

/** Waits until Kafka says that the group is stable. The admin client is gone afterwards: it costs CPU. */
export async function untilJoined(
  brokers: readonly string[],
  groupId: string,
  running: RunningPipeline,
): Promise<void> {
  await withAdmin(brokers, (admin) =>
    untilOver(
      running,
      async () => {
        const { groups } = await admin.describeGroups([groupId]);
        return groups[0]?.state === 'Stable';
      },
      `a member in group ${groupId}`,
      60_000,
    ),
  );
}

function membersOf(brokers: readonly string[], groupId: string): Promise<number> {
  return withAdmin(brokers, async (admin) => {
    const { groups } = await admin.describeGroups([groupId]);
    return groups[0]?.members.length ?? 0;
  });
}

export async function untilOver(
  running: RunningPipeline,
  isOver: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = DEADLINE_MS,
): Promise<void> {
  await waitFor(
    () => {
      running.mustRun();
      return isOver();
    },
    {
      what,
      timeoutMs,
      everyMs: LOOK_EVERY_MS,
      giveUpOn: (error) => error instanceof StuckError || isGone(running),
    },
  );
}

class StuckError extends Error {
  override readonly name = 'StuckError';
}

/** Answers false, for "not over yet", as long as the pipeline gets on; throws when it does not. */
function createStuckWatch(running: RunningPipeline): () => Promise<false> {
  let last = { done: 0, atMs: performance.now() };
  return async () => {
    const done = await running.done();
    if (done !== last.done) last = { done, atMs: performance.now() };
    if (performance.now() - last.atMs > STUCK_AFTER_MS)
      throw new StuckError(`stuck at ${done} messages:\n${running.logTail()}`);
    return false;
  };
}

function isGone(running: RunningPipeline): boolean {
  try {
    running.mustRun();
    return false;
  } catch {
    return true;
  }
}
