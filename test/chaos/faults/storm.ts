import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../world.ts';
import { faultsAround } from './around.ts';
import { type Fault, GOAL_MS, type Struck } from './fault.ts';
import { processFaults } from './processes.ts';
import { redisFaults } from './redis.ts';

/** What may happen while a process is in trouble already. */
const AROUND = [...redisFaults, ...faultsAround].filter(
  ({ behindProxy, isNightly = false }) => !isNightly && behindProxy !== 'first',
);
const OF_PROCESSES = processFaults.filter(({ isNightly = false }) => !isNightly);

/** One fault after the other; never fewer than two processes when the next one strikes. */
async function lane(world: World, faults: readonly Fault[]): Promise<Struck[]> {
  const struck: Struck[] = [];
  for (const fault of faults) {
    struck.push(await fault.strike(world));
    while (world.alive().length < 2) await world.start();
    await delay(world.random.below(1_500));
  }
  return struck;
}

/** Troubles do not wait for each other. */
export const storm: Fault = {
  name: 'storm',
  what: 'two faults of processes and, at the same time, two around them, as the seed chooses',
  goalMs: GOAL_MS,
  behindProxy: 'all',
  isNightly: true,
  async strike(world) {
    const pair = (faults: readonly Fault[]): Fault[] => [
      world.random.pick(faults),
      world.random.pick(faults),
    ];
    const chosen = [pair(OF_PROCESSES), pair(AROUND)];
    const struck = (await Promise.all(chosen.map((faults) => lane(world, faults)))).flat();
    const rolledBack = struck.flatMap(({ rolledBackMs }) => rolledBackMs ?? []);
    return {
      proof: `${chosen
        .flat()
        .map(({ name }) => name)
        .join(' + ')}: ${struck.map(({ proof }) => proof).join('; ')}`,
      overMs: Math.max(...struck.map(({ overMs }) => overMs)),
      ...(rolledBack.length > 0 && { rolledBackMs: Math.min(...rolledBack) }),
    };
  },
};
