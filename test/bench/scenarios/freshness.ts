import { nullPipeline } from '../baseline.ts';
import { staleIds } from '../check.ts';
import { untilJoined, untilOver } from '../drain.ts';
import { type Bar, percentile, type Sample } from '../figures.ts';
import type { Lab } from '../lab.ts';
import { productLoad } from '../load.ts';
import { startMeter } from '../meter.ts';
import { sendAtPace } from '../pace.ts';
import type { Pipeline } from '../pipeline.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;
const WARM_UP_SECONDS = 2;
/** Messages a second that are waited for: enough for a 99th percentile, few enough to cost Redis little. */
const PROBES_PER_SECOND = 500;
/** A run in which the producer itself fell behind says nothing. */
const MIN_PACE = 0.95;

/** How old news is when it becomes visible: from before the produce until Redis has it. */
export const freshness1k: Scenario = freshness('freshness-1k', 1_000, [
  { subject: 'cachewright', metric: 'p50', over: 'null', atMost: 1.5 },
  { subject: 'cachewright', metric: 'p99', over: 'null', atMost: 2 },
]);

export const freshness10k: Scenario = freshness('freshness-10k', 10_000, [
  { subject: 'cachewright', metric: 'p50', atMost: 10 },
  { subject: 'cachewright', metric: 'p99', atMost: 50 },
]);

function freshness(name: string, perSecond: number, bars: readonly Bar[]): Scenario {
  return {
    name,
    metrics: ['p50', 'p99'].map((metric) => ({ name: metric, unit: 'ms', better: 'lower', digits: 1 })),
    bars,
    async prepare(lab) {
      const seconds = lab.pick({ quick: 4, default: 6, full: 30 });
      const pipelines = [product(), nullPipeline];
      // The broker compiles its hot code in a run that does not count; else the first subject pays for it.
      await measure(lab, nullPipeline, perSecond, WARM_UP_SECONDS).catch(() => undefined);
      return {
        title: `${perSecond.toLocaleString('en')} messages a second for ${seconds} s, from before the produce to visible in Redis`,
        trials: pipelines.map((pipeline) => ({
          subject: pipeline.name,
          run: () => measure(lab, pipeline, perSecond, seconds),
        })),
      };
    },
  };
}

async function measure(lab: Lab, pipeline: Pipeline, perSecond: number, seconds: number): Promise<Sample> {
  const kafka = await lab.kafka();
  const redis = await lab.redis();
  const [topic, groupId, partitions] = [lab.fresh('paced'), lab.fresh(pipeline.name), 1];
  await kafka.createTopic(topic, { partitions });
  const running = pipeline.start({ brokers: kafka.brokers, topic, partitions, groupId, redis });
  try {
    await untilJoined(kafka.brokers, groupId, running);
    const load = productLoad(perSecond * (seconds + WARM_UP_SECONDS), KEYS, 'inTurn');
    const meter = startMeter(running, redis, kafka.pid);
    const result = await sendAtPace(load, {
      brokers: kafka.brokers,
      topic,
      partitions,
      perSecond,
      warmUp: perSecond * WARM_UP_SECONDS,
      probeEvery: Math.max(1, Math.round(perSecond / PROBES_PER_SECOND)),
      redisUrl: redis.url,
    });
    const { cpu } = meter.stop(load.messages);
    if (result.sentPerSecond < perSecond * MIN_PACE)
      throw new Error(`the producer only reached ${Math.round(result.sentPerSecond)} messages a second`);
    if (result.missing > 0) throw new Error(`${result.missing} messages never became visible`);
    await untilOver(running, async () => (await running.done()) >= load.messages, 'every message', 60_000);
    const stale = await staleIds(redis.client, load.newest());
    if (stale.length > 0 && pipeline.isFenced)
      throw new Error(`${stale.length} keys are not at their newest version`);
    await running.verify(load.messages);
    const { latenciesMs } = result;
    return { metrics: { p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) }, cpu };
  } finally {
    await running.stop();
    await redis.stop();
  }
}
