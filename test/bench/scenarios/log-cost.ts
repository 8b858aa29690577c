import { LOG_KEY } from '../../../src/adapters/redis-announcement.ts';
import { drain, fillBacklog } from '../drain.ts';
import type { BenchRedis } from '../lab.ts';
import { productLoad } from '../load.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;

/** The backlog with the invalidation log and without it, in turn: what coherence takes from throughput. */
export const logCost: Scenario = {
  name: 'log-cost',
  isOnDemand: true,
  metrics: [{ name: 'throughput', unit: 'messages/s', better: 'higher' }],
  bars: [{ subject: 'announced', metric: 'throughput', over: 'unannounced', atLeast: 0.95 }],
  async prepare(lab) {
    const messages = lab.pick({ quick: 200_000, default: 400_000, full: 2_000_000 });
    const backlog = await fillBacklog(lab, productLoad(messages, KEYS), 1);
    const trial = (subject: string, isAnnounced: boolean) => ({
      subject,
      run: () =>
        drain(lab, backlog, product({ isAnnounced }), {
          inspect: (_, redis) => mustHaveLog(redis, isAnnounced),
        }),
    });
    return {
      title: `the backlog of ${messages.toLocaleString('en')} messages with the invalidation log and without it`,
      trials: [trial('announced', true), trial('unannounced', false)],
    };
  },
};

/** That the two subjects are what they are called. */
async function mustHaveLog({ client }: BenchRedis, isAnnounced: boolean): Promise<Record<string, number>> {
  const hasLog = (await client.xlen(LOG_KEY)) > 0;
  if (hasLog !== isAnnounced) throw new Error(`the invalidation log ${hasLog ? 'has entries' : 'is empty'}`);
  return {};
}
