/** Faults of the read path, of the invalidation log and of who follows it. */
import type { ResyncReason } from '../../../src/core/ports.ts';
import { CALL_FAULTS, type Fault, type FaultWorld, felt, LOOK_MS, PATIENCE_MS, untilDone } from './fault.ts';

/** Calls of the read path: of its source and leases only when readers find no value in Redis. */
const READ_PORTS = [
  'tier.read',
  'log.read',
  'log.end',
  'leases.acquire',
  'leases.release',
  'read.fetch',
] as const;

export const readCallFaults: readonly Fault[] = READ_PORTS.flatMap((port) =>
  CALL_FAULTS.map((fault) => ({
    name: `${fault} ${port}`,
    async strike(world) {
      let fired = 0;
      world.trap(port, fault, world.random.int(0, 3), () => {
        fired += 1;
      });
      const isOfFill = port === 'read.fetch' || port.startsWith('leases.');
      if (!isOfFill) return felt(world, () => fired);
      world.readThrough();
      for (let waited = 0; waited < PATIENCE_MS; waited += 4 * LOOK_MS) {
        if (fired > 0) break;
        world.evictValues();
        await world.sleep(4 * LOOK_MS);
      }
      return fired;
    },
  })),
);

/** A local tier is emptied for this reason before the fault is over. */
function resynced(
  name: string,
  reason: ResyncReason,
  strike: (world: FaultWorld) => Promise<unknown>,
): Fault {
  return {
    name,
    async strike(world) {
      const before = world.resyncs(reason);
      await strike(world);
      return felt(world, () => world.resyncs(reason) - before);
    },
  };
}

export const coherenceFaults: readonly Fault[] = [
  resynced('log trimmed', 'gap', async (world) => {
    for (let times = world.random.int(1, 4); times > 0; times -= 1) {
      world.trimLog();
      await world.sleep(world.random.between(100, 2_000));
    }
  }),
  resynced('log counter lost', 'counter', (world) => untilDone(world, () => world.loseCounter())),
  resynced('another Redis answers', 'server', async (world) => world.failOver()),
  {
    name: 'log out of reach',
    async strike(world) {
      const cut = world.cutLog();
      await world.sleep(world.random.between(300, 20_000));
      cut.over();
      return cut.felt();
    },
  },
  {
    name: 'answers slow',
    async strike(world) {
      if (world.random.chance(0.5)) world.readThrough();
      const slowed = world.slowDown();
      await world.sleep(world.random.between(2_000, 15_000));
      const times = await felt(world, slowed.felt);
      slowed.over();
      return times;
    },
  },
  {
    name: 'values evicted',
    async strike(world) {
      world.readThrough();
      let evicted = 0;
      for (let count = 0; count < 5 || evicted === 0; count += 1) {
        evicted += world.evictValues();
        await world.sleep(world.random.between(200, 3_000));
      }
      return evicted;
    },
  },
];
