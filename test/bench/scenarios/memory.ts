import { withAdmin } from '../../support/servers/kafka-tools.ts';
import { peakRssMb, rssMb } from '../cpu.ts';
import { type Backlog, drain, fillBacklog, untilOver } from '../drain.ts';
import type { Sample } from '../figures.ts';
import type { Lab } from '../lab.ts';
import { productLoad } from '../load.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 100_000;

/** What the process needs with a full local tier, and what a waiting message needs in Redis. */
export const memory: Scenario = {
  name: 'memory',
  metrics: [
    { name: 'peakRss', unit: 'MB', better: 'lower' },
    { name: 'rssGrowth', unit: '× of half-way', better: 'lower', digits: 2 },
    { name: 'redisPerWaiting', unit: 'bytes', better: 'lower' },
  ],
  bars: [
    { subject: 'cachewright', metric: 'peakRss', atMost: 350 },
    { subject: 'cachewright', metric: 'rssGrowth', atMost: 1.15 },
  ],
  async prepare(lab) {
    const messages = lab.pick({ quick: 200_000, default: 300_000, full: 10_000_000 });
    const backlog = await fillBacklog(lab, productLoad(messages, KEYS, 'inTurn'), 1);
    const small = await fillBacklog(lab, productLoad(100_000, KEYS), 1);
    return {
      title: `${messages.toLocaleString('en')} messages, ${KEYS.toLocaleString('en')} local entries of 300 bytes`,
      trials: [
        { subject: 'cachewright', run: () => underLoad(lab, backlog) },
        { subject: 'waiting', run: () => waiting(lab, small) },
      ],
    };
  },
};

async function underLoad(lab: Lab, backlog: Backlog): Promise<Sample> {
  let halfWayMb = 0;
  const { metrics } = await drain(lab, backlog, product(), {
    async isOver(running) {
      const done = await running.done();
      if (halfWayMb === 0 && done >= backlog.load.messages / 2) halfWayMb = rssMb(running.pids()[0] ?? 0);
      return done >= backlog.load.messages;
    },
    inspect(running) {
      const pid = running.pids()[0] ?? 0;
      return Promise.resolve({ peakRss: peakRssMb(pid), rssGrowth: rssMb(pid) / halfWayMb });
    },
  });
  return { metrics };
}

/** Only ingest runs: everything ends up waiting in the queue. */
async function waiting(lab: Lab, { topic, partitions, load }: Backlog): Promise<Sample> {
  const kafka = await lab.kafka();
  const redis = await lab.redis();
  const groupId = lab.fresh('waiting');
  const usedBytes = async (): Promise<number> =>
    Number(/used_memory:(\d+)/.exec(await redis.client.info('memory'))?.[1]);
  const before = await usedBytes();
  const running = product({ roles: ['ingest'] }).start({
    brokers: kafka.brokers,
    topic,
    partitions,
    groupId,
    redis,
  });
  try {
    await withAdmin(kafka.brokers, (admin) =>
      untilOver(
        running,
        async () => {
          const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
          return Number(found?.partitions[0]?.offset) === load.messages;
        },
        'everything to be enqueued and committed',
        120_000,
      ),
    );
    return { metrics: { redisPerWaiting: ((await usedBytes()) - before) / load.messages } };
  } finally {
    await running.stop();
    await redis.stop();
  }
}
