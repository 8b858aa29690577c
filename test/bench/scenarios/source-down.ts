import { staleIds } from '../check.ts';
import { drain, fillBacklog } from '../drain.ts';
import { shopService, startShops } from '../http-shops.ts';
import type { BenchRedis } from '../lab.ts';
import { mixedLoad, productLoad, shopLoad } from '../load.ts';
import { INLINE_PRODUCTS, product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;
const SHOPS = 1_000;
/** Keys looked at in one go while waiting for the end. */
const SLICE = 500;

/** What one service's outage costs the others: every tenth message is for a source that is down. */
export const sourceDown: Scenario = {
  name: 'source-down',
  metrics: [{ name: 'throughput', unit: 'messages/s', better: 'higher' }],
  bars: [{ subject: 'source down', metric: 'throughput', over: 'source up', atLeast: 0.9 }],
  async prepare(lab) {
    const shops = lab.pick({ quick: 10_000, default: 13_000, full: 100_000 });
    const messages = 9 * shops;
    const load = mixedLoad(productLoad(messages, KEYS), shopLoad(shops, SHOPS), 10);
    const backlog = await fillBacklog(lab, load, 1);
    const source = await startShops(SHOPS);
    const newest = load.newest();
    const subject = product({
      services: { productInfoService: INLINE_PRODUCTS, shopInfoService: shopService(source) },
    });
    const trial = (name: string, mode: 'ok' | '500') => ({
      subject: name,
      run() {
        source.setMode(mode);
        const isOver = untilNewest(newest);
        // The audit of the shops stays open while their source is down: what counts is that every product is there.
        return drain(lab, backlog, subject, {
          isOver: (_, redis) => isOver(redis),
          counted: messages,
          hasBooks: false,
        });
      },
    });
    return {
      title: `${messages.toLocaleString('en')} inline messages, and one in ten besides for an HTTP source that is up or down`,
      trials: [trial('source up', 'ok'), trial('source down', '500')],
      close: () => source.stop(),
    };
  },
};

/** Whether every key is at its newest version; keys that were seen there are not asked for again. */
function untilNewest(newest: ReadonlyMap<number, number>): (redis: BenchRedis) => Promise<boolean> {
  let waiting = [...newest];
  return async (redis) => {
    for (;;) {
      if (waiting.length === 0) return true;
      const stale = await staleIds(redis.client, new Map(waiting.slice(0, SLICE)));
      const isStale = new Set(stale);
      waiting = [...waiting.slice(SLICE), ...waiting.slice(0, SLICE).filter(([id]) => isStale.has(id))];
      if (stale.length > 0) return false;
    }
  };
}
