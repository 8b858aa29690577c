import { nullPipeline, textbookPipeline } from '../baseline.ts';
import { drain, fillBacklog } from '../drain.ts';
import { productLoad } from '../load.ts';
import { product } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;

/** How fast a backlog is worked off when all of it is there. */
export const backlog: Scenario = {
  name: 'backlog',
  metrics: [{ name: 'throughput', unit: 'messages/s', better: 'higher' }],
  bars: [
    { subject: 'cachewright', metric: 'throughput', over: 'null', atLeast: 0.28 },
    { subject: 'cachewright', metric: 'throughput', over: 'textbook', atLeast: 15 },
  ],
  async prepare(lab) {
    const messages = lab.pick({ quick: 200_000, default: 400_000, full: 2_000_000 });
    // The textbook shape needs a fraction of a millisecond for each message, however many there are.
    const few = lab.pick({ quick: 10_000, default: 20_000, full: 50_000 });
    const large = await fillBacklog(lab, productLoad(messages, KEYS), 1);
    const small = await fillBacklog(lab, productLoad(few, KEYS), 1);
    const count = (value: number): string => value.toLocaleString('en');
    return {
      title: `${count(messages)} messages of 300 bytes (textbook: ${count(few)}), ${count(KEYS)} keys, 1 partition, 1 process, SQLite audit`,
      trials: [
        { subject: 'cachewright', run: () => drain(lab, large, product()) },
        { subject: 'null', run: () => drain(lab, large, nullPipeline) },
        { subject: 'textbook', run: () => drain(lab, small, textbookPipeline) },
      ],
    };
  },
};
