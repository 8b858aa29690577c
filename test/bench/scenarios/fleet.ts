import { drain, type DrainOptions, fillBacklog } from '../drain.ts';
import { productLoad } from '../load.ts';
import { product, type RunningProduct } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;
const PARTITIONS = 12;

/** Several processes of one group on one machine, and a rebalance in the middle of the load. */
export const fleet: Scenario = {
  name: 'fleet',
  metrics: [{ name: 'throughput', unit: 'messages/s', better: 'higher' }],
  bars: ['2 processes', '4 processes'].map((subject) => ({
    subject,
    metric: 'throughput',
    over: '1 process',
    atLeast: 0.85,
  })),
  async prepare(lab) {
    const messages = lab.pick({ quick: 200_000, default: 300_000, full: 1_000_000 });
    const backlog = await fillBacklog(lab, productLoad(messages, KEYS), PARTITIONS);
    const trial = (subject: string, processes: number, options: () => DrainOptions<RunningProduct>) => ({
      subject,
      run: () => drain(lab, backlog, product({ processes }), options()),
    });
    return {
      title: `${messages.toLocaleString('en')} messages over ${PARTITIONS} partitions; rebalanced: 2 processes, a third joins, the first leaves`,
      trials: [
        trial('1 process', 1, () => ({})),
        trial('2 processes', 2, () => ({})),
        trial('4 processes', 4, () => ({})),
        trial('rebalanced', 2, () => ({ isOver: rebalancing(messages) })),
      ],
    };
  },
};

/** Lets a third process in after a fifth of the messages and ends the first after half of them. */
function rebalancing(messages: number): (running: RunningProduct) => Promise<boolean> {
  const steps = [
    { at: messages / 5, act: async (running: RunningProduct) => running.grow() },
    { at: messages / 2, act: (running: RunningProduct) => running.shrink() },
  ];
  return async (running) => {
    const done = await running.done();
    if (steps[0] !== undefined && done >= steps[0].at) await steps.shift()?.act(running);
    if (done < messages) return false;
    if (steps.length > 0) throw new Error('everything was done before the group was rebalanced');
    // A message that ran twice counts twice: only the distinct ones say that it is over.
    return running.askAudit('select count(distinct message) from audit') >= messages;
  };
}
