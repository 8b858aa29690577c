import { readFileSync } from 'node:fs';
import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import type { RedisClient } from '../adapters/redis-connection.ts';
import { openQueueShards } from '../app/queue-shards.ts';
import { createReplays, type Replays, type ReplayStart } from '../app/replay.ts';
import { withRedis } from '../app/with-redis.ts';
import { formatCount } from '../config/durations.ts';
import type { Config, KafkaConfig } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { fail, reasonOf } from '../core/errors.ts';
import type { ReplayProgress } from '../ingest/replay.ts';
import { lengthOf, type ReplayRange } from '../ingest/replay-plan.ts';
import type { GlobalOptions, Run } from './command.ts';
import { isConfirmed, isTerminal } from './confirm.ts';
import { EXIT, print, say } from './output.ts';
import { createProgress } from './progress.ts';
import { offsetsIn, timeIn } from './replay-start.ts';
import { loadSettings } from './settings.ts';
import { silentLog } from './silent-log.ts';
import { topicOf } from './topics.ts';

interface ReplayFlags {
  readonly topic?: string;
  readonly partition?: readonly number[];
  readonly fromBeginning: boolean;
  readonly since?: string;
  readonly offsets?: string;
  readonly dryRun: boolean;
  readonly rate: number;
}

/** `cachewright replay`: puts a topic's messages into the queue once more. The fence decides what each still means. */
export const replayCommand: Run<ReplayFlags> = async (options) => {
  const { config } = await loadSettings(options);
  const { kafka } = config;
  if (kafka === undefined)
    throw fail('E_USAGE', { reason: 'The configuration has no `kafka` to replay from.' });
  const topic = topicOf(config, options.topic) ?? '';
  const start = startOf(topic, options);
  return withRedis(config.redis.url, config.redis.commandTimeoutMs, async (redis) => {
    const { replays, close } = assemble(config, kafka, redis);
    try {
      const ranges = await replays.plan(topic, start, options.partition);
      tellPlan(topic, ranges, options);
      if (options.dryRun) return EXIT.ok;
      if (ranges.every((range) => lengthOf(range) === 0)) return EXIT.ok;
      if (!(await isMeant(options))) return EXIT.usage;
      return await run(replays, topic, ranges, options);
    } finally {
      await close();
    }
  });
};

function startOf(topic: string, { fromBeginning, since, offsets }: ReplayFlags): ReplayStart {
  const given = [fromBeginning, since !== undefined, offsets !== undefined].filter(Boolean).length;
  if (given !== 1)
    throw fail('E_USAGE', { reason: 'Say where it begins: one of --from-beginning, --since and --offsets.' });
  if (since !== undefined) return { kind: 'since', timestampMs: timeIn(since, Date.now()) };
  if (offsets === undefined) return { kind: 'beginning' };
  return { kind: 'offsets', offsets: offsetsIn(topic, offsets, readText) };
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw fail('E_USAGE', { reason: `The offsets cannot be read from ${file}: ${reasonOf(error)}.` });
  }
}

function assemble(
  config: Config,
  kafka: KafkaConfig,
  redis: RedisClient,
): { replays: Replays; close(): Promise<void> } {
  const log = silentLog;
  const shards = openQueueShards({ config, redis, log });
  const { queue } = shards;
  const marks = shards.marks();
  const machine = machineName(compileChart(changeMessage));
  const replays = createReplays({ config, kafka, queue, marks, machine, clock: systemClock(), log });
  return {
    replays,
    async close() {
      await replays.close();
      marks.close();
      await queue.close();
    },
  };
}

/** What it would do, or is about to. */
function tellPlan(
  topic: string,
  ranges: readonly ReplayRange[],
  { dryRun, json, quiet }: ReplayFlags & GlobalOptions,
): void {
  const offsets = ranges.reduce((sum, range) => sum + lengthOf(range), 0);
  for (const { partition, lost } of ranges.filter((range) => range.lost > 0)) {
    say(`partition ${partition}: ${formatCount(lost)} older message(s) are gone by retention`, quiet);
  }
  if (dryRun && json) {
    const partitions = ranges.map(({ partition, from, end, lost }) => ({ partition, from, end, lost }));
    print(JSON.stringify({ topic, dryRun: true, offsets, partitions }));
    return;
  }
  const lines = ranges.map(
    (range) =>
      `partition ${range.partition}  ${formatCount(lengthOf(range))} offset(s)  ${range.from} … ${range.end}`,
  );
  const text = [...lines, `${topic} ${formatCount(offsets)} offset(s)`].join('\n');
  if (dryRun) print(text);
  else say(text, quiet);
}

async function isMeant({ yes }: GlobalOptions): Promise<boolean> {
  if (yes) return true;
  if (!isTerminal())
    throw fail('E_USAGE', { reason: 'Add --yes to enqueue them, or --dry-run to see the counts only.' });
  return isConfirmed('Enqueue them once more?');
}

async function run(
  replays: Replays,
  topic: string,
  ranges: readonly ReplayRange[],
  options: ReplayFlags & GlobalOptions,
): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const progress = createProgress(options.quiet);
  const total = ranges.reduce((sum, range) => sum + lengthOf(range), 0);
  const reached = new Map<number, ReplayProgress>();
  let end: 'done' | 'interrupted' | 'stopped' = 'stopped';
  try {
    ({ end } = await replays.run(topic, options.rate, {
      ranges,
      signal: interrupt.signal,
      onProgress(at) {
        reached.set(at.partition, at);
        const messages = countOf(reached);
        progress.show(messages / Math.max(1, total), messages);
      },
      onWait: (reason) => say(`waiting: ${reason}`, options.quiet),
    }));
  } finally {
    progress.clear();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    tellEnd(topic, ranges, reached, end, options);
  }
  return end === 'done' ? EXIT.ok : EXIT.interrupted;
}

function countOf(reached: ReadonlyMap<number, ReplayProgress>): number {
  return [...reached.values()].reduce((sum, { messages }) => sum + messages, 0);
}

function tellEnd(
  topic: string,
  ranges: readonly ReplayRange[],
  reached: ReadonlyMap<number, ReplayProgress>,
  end: string,
  { json, quiet }: GlobalOptions,
): void {
  const messages = countOf(reached);
  const offsets = Object.fromEntries(
    ranges.map(({ partition, from, end: last }) => [
      partition,
      end === 'done' ? last : (reached.get(partition)?.next ?? from),
    ]),
  );
  print(
    json
      ? JSON.stringify({ topic, end, messages, offsets })
      : `${topic} ${messages} message(s) enqueued again`,
  );
  if (end === 'done') return;
  const rest = Object.entries(offsets).map(([partition, next]) => `${partition}:${next}`);
  say(`${end}: --offsets ${rest.join(',')} goes on from here`, quiet);
}
