import { nullPipeline, textbookPipeline } from '../baseline.ts';
import { PRODUCT_KEYS } from '../check.ts';
import { fillBacklog, untilOver } from '../drain.ts';
import type { Sample } from '../figures.ts';
import type { Lab } from '../lab.ts';
import { productLoad } from '../load.ts';
import type { Pipeline } from '../pipeline.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

/** From the start of the process until its first message is in Redis; broker and Redis are up and know the topic. */
export const startTime: Scenario = {
  name: 'start-time',
  metrics: [{ name: 'start', unit: 'ms', better: 'lower' }],
  bars: [{ subject: 'cachewright', metric: 'start', atMost: 1_000 }],
  async prepare(lab) {
    const backlog = await fillBacklog(lab, productLoad(100, 10), 1);
    const first = PRODUCT_KEYS.prefix + backlog.load.at(0).id;
    return {
      title: 'from the start of the process to the first message in Redis, dependencies warm',
      trials: [product(), nullPipeline, textbookPipeline].map((pipeline) => ({
        subject: pipeline.name,
        run: () => measure(lab, pipeline, backlog.topic, first),
      })),
    };
  },
};

async function measure(lab: Lab, pipeline: Pipeline, topic: string, firstKey: string): Promise<Sample> {
  const kafka = await lab.kafka();
  const redis = await lab.redis();
  const groupId = lab.fresh(pipeline.name);
  const startMs = performance.now();
  const running = pipeline.start({ brokers: kafka.brokers, topic, partitions: 1, groupId, redis });
  try {
    await untilOver(running, async () => (await redis.client.exists(firstKey)) === 1, firstKey, 60_000);
    return { metrics: { start: performance.now() - startMs } };
  } finally {
    await running.stop();
    await redis.stop();
  }
}
