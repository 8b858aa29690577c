import { changeMessage, compileChart } from '../../machines/index.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { createMemoryRedisTier } from '../adapters/memory-tiers.ts';
import { createRedisTierView } from '../adapters/redis-tier.ts';
import { compileMappings, compileServices } from '../app/services.ts';
import type { Config } from '../config/schema.ts';
import type { Message } from '../core/change.ts';
import { systemClock } from '../core/clock.ts';
import { CachewrightError } from '../core/errors.ts';
import type { Clock, RedisTierView } from '../core/ports.ts';
import { Run as MessageRun } from '../core/run.ts';
import { Trail } from '../core/trail.ts';
import { createEffects } from '../pipeline/effects.ts';
import { createExecutor } from '../pipeline/executor.ts';
import { createParse } from '../pipeline/parse.ts';
import type { Run } from './command.ts';
import { createDryRedisTier, type DryRedisTier } from './dry-redis-tier.ts';
import { messageFromStdin } from './lines.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';
import { silentLog } from './silent-log.ts';
import { topicOf } from './topics.ts';
import { describeTrial, isRefused, trialJson } from './trial-text.ts';
import { withRedis } from '../app/with-redis.ts';

interface TryOptions {
  readonly topic?: string;
  readonly key?: string;
}

/** `cachewright try`: walks one message through the real chart and effects, with tiers that write nothing. */
export const tryCommand: Run<TryOptions> = async (options, [text = '-']) => {
  const { config } = await loadSettings(options);
  const topic = topicOf(config, options.topic);
  const clock = systemClock();
  const message: Message = {
    origin: { stream: 'try', epoch: 0, position: '0' },
    timestampMs: Math.floor(clock.now()),
    key: options.key ?? null,
    value: text === '-' ? await messageFromStdin() : text,
    headers: [],
  };
  const trial = async (tier: RedisTierView): Promise<number> => {
    const dry = createDryRedisTier(tier, topic, clock);
    const runs = await walk(config, message, topic, dry, clock);
    if (options.json) print(`{"runs":[${runs.map((run) => trialJson(run, dry)).join(',')}]}`);
    else print(runs.map((run) => describeTrial(run, dry)).join('\n\n'));
    say('Nothing was written.', options.quiet);
    return runs.some(isRefused) ? EXIT.failed : EXIT.ok;
  };
  const { cache, commandTimeoutMs } = config.redis;
  try {
    return await withRedis(cache.url, commandTimeoutMs, (redis) => trial(createRedisTierView(redis)));
  } catch (thrown) {
    if (!(thrown instanceof CachewrightError) || thrown.code !== 'E_UNREACHABLE') throw thrown;
    say(`${thrown.message} Judged as if it were empty.`);
    // A message that is refused before Redis is asked has its whole answer.
    const code = await trial(createMemoryRedisTier({ clock }));
    return code === EXIT.ok ? EXIT.unreachable : code;
  }
};

async function walk(
  config: Config,
  message: Message,
  topic: string | undefined,
  redisTier: DryRedisTier,
  clock: Clock,
): Promise<MessageRun[]> {
  const services = compileServices(config, clock);
  const mapped = compileMappings(config);
  const localTier = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: config.local.maxBytes, clock });
  const chart = compileChart(changeMessage);
  const parse = createParse({
    services,
    mappingOf: () => mapped(topic === undefined ? 'try' : `${topic}-0`),
    limits: config.limits,
    clock,
  });
  const executor = createExecutor({
    chart,
    effects: createEffects({ parse, localTier, redisTier, clock }),
    clock,
    log: silentLog,
    maxGroupRuns: 500,
    maxGroupBytes: 4 * 1024 ** 2,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    defaultRetry: {
      attempts: 1,
      backoff: { initialMs: 1_000, factor: 1, maxMs: 1_000, jitter: 0 },
      horizonMs: 3_600_000,
    },
  });
  const runs = [new MessageRun(message, 0, 0, chart.initial, Trail.root())];
  try {
    await executor.execute(runs, new AbortController().signal);
    return runs;
  } finally {
    await Promise.all([...services.values()].map(({ source }) => source.close()));
    await localTier.close();
  }
}
