import { SHOP_KEYS, staleIds } from '../check.ts';
import { drain, fillBacklog } from '../drain.ts';
import { SHOP_LIMITS, SHOP_VERSION, shopService, startShops } from '../http-shops.ts';
import { shopLoad } from '../load.ts';
import { product, type RunningProduct } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 5_000;

/** Thin messages whose records are read from an HTTP source that answers in 20 ms. */
export const httpSource: Scenario = {
  name: 'http-source',
  metrics: [
    { name: 'throughput', unit: 'messages/s', better: 'higher' },
    { name: 'requests', unit: 'requests', better: 'lower' },
    { name: 'fetchesPerKeyAndChunk', unit: 'fetches', better: 'lower', digits: 2 },
  ],
  bars: [
    { subject: 'cachewright', metric: 'throughput', atLeast: 20_000 },
    { subject: 'cachewright', metric: 'fetchesPerKeyAndChunk', atMost: 1 },
  ],
  async prepare(lab) {
    const messages = lab.pick({ quick: 100_000, default: 200_000, full: 1_000_000 });
    const backlog = await fillBacklog(lab, shopLoad(messages, KEYS), 1);
    const source = await startShops(KEYS);
    const newest = new Map([...backlog.load.newest().keys()].map((id) => [id, SHOP_VERSION]));
    const subject = product({ services: { shopInfoService: shopService(source) } });

    const inspect = (running: RunningProduct): Promise<Record<string, number>> => {
      let fetches = 0;
      for (const id of newest.keys()) fetches += source.fetches(String(id));
      const keysOfChunks = running.askAudit(
        'select count(*) from (select distinct job, execution, record_id from audit)',
      );
      if (source.maxConcurrency() > SHOP_LIMITS.concurrency)
        throw new Error(
          `the source saw ${source.maxConcurrency()} requests at once; the limit is ${SHOP_LIMITS.concurrency}`,
        );
      return Promise.resolve({ requests: source.requests(), fetchesPerKeyAndChunk: fetches / keysOfChunks });
    };

    return {
      title: `${messages.toLocaleString('en')} messages about ${KEYS.toLocaleString('en')} keys, the source answers in 20 ms`,
      trials: [
        {
          subject: subject.name,
          async run() {
            source.resetCounts();
            const sample = await drain(lab, backlog, subject, {
              inspect,
              stale: (redis) => staleIds(redis.client, newest, SHOP_KEYS),
            });
            const seconds = messages / (sample.metrics['throughput'] ?? Number.NaN);
            const perSecond = source.requests() / seconds;
            // A limiter that counts by the second may let two seconds' worth through around a boundary.
            if (perSecond > SHOP_LIMITS.perSecond * 1.1)
              throw new Error(`the source saw ${Math.round(perSecond)} requests a second`);
            return sample;
          },
        },
      ],
      close: () => source.stop(),
    };
  },
};
