import { setTimeout as delay } from 'node:timers/promises';
import { withAdmin } from '../../support/servers/kafka-tools.ts';
import { waitFor } from '../../support/servers/process.ts';
import { BROKER_GOAL_MS, type Fault } from './fault.ts';

const DOWN_MS = 20_000;

const brokerKilled: Fault = {
  name: 'broker-killed',
  what: 'one of three brokers killed with -9, and started again when the others had taken over',
  goalMs: BROKER_GOAL_MS,
  killsBrokers: true,
  async strike(world) {
    const cluster = world.cluster();
    const victim = world.random.below(3);
    await cluster.killBroker(victim);
    const overMs = Date.now();
    const others = cluster.brokers.filter((_, index) => index !== victim);
    const isGone = async (): Promise<boolean> => {
      const { brokers } = await withAdmin(others, (admin) => admin.describeCluster());
      return brokers.every(({ nodeId }) => nodeId !== victim + 1);
    };
    try {
      // The controller misses its beats after nine seconds, a busy one later.
      await waitFor(isGone, { what: `broker ${victim} to be no member`, timeoutMs: 40_000, everyMs: 250 });
    } finally {
      // Later runs use the same three.
      await cluster.startBroker(victim);
    }
    return { proof: `broker ${victim} was gone from the cluster`, overMs };
  },
};

const allDown: Fault = {
  name: 'brokers-down',
  what: 'all three brokers killed with -9, down for 20 s',
  goalMs: BROKER_GOAL_MS,
  killsBrokers: true,
  async strike(world) {
    const cluster = world.cluster();
    const all = cluster.brokers.map((_, index) => index);
    await Promise.all(all.map((index) => cluster.killBroker(index)));
    await delay(DOWN_MS);
    const isUp = await withAdmin(cluster.brokers, (admin) => admin.describeCluster()).then(
      () => true,
      () => false,
    );
    if (isUp) throw new Error('a broker answered');
    await Promise.all(all.map((index) => cluster.startBroker(index)));
    return { proof: `no broker answered for ${DOWN_MS} ms`, overMs: Date.now() };
  },
};

export const kafkaFaults: readonly Fault[] = [brokerKilled, allDown];
