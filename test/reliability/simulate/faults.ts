/** What may happen to a run. Each fault tells whether it really happened: one that did not makes the run worthless. */
import type { FaultFired } from '../history.ts';
import { CALL_FAULTS, type Fault, type FaultWorld, felt, untilDone } from './fault.ts';
import type { Random } from './random.ts';
import { coherenceFaults, readCallFaults } from './read-faults.ts';
import type { SourceFault } from './truth.ts';
import type { Habits } from './workload.ts';

const PORTS = [
  'queue.enqueue',
  'queue.take',
  'queue.close',
  'queue.complete',
  'marks.read',
  'marks.move',
  'source.commit',
  'source.fetch',
  'tier.fences',
  'tier.write',
  'outbox.read',
  'outbox.remove',
  'store.append',
] as const;
const SOURCE_FAULTS: readonly SourceFault[] = ['down', 'open', 'slow', 'behind', 'garbage', 'flaky'];
const callFaults: readonly Fault[] = PORTS.flatMap((port) =>
  CALL_FAULTS.map((fault) => ({
    name: `${fault} ${port}`,
    async strike(world) {
      let fired = 0;
      const isRare = port === 'marks.read';
      world.trap(port, fault, isRare ? 0 : world.random.int(0, 12), () => {
        fired += 1;
      });
      // Marks are read when somebody joins.
      if (isRare) await world.joinOne();
      await felt(world, () => fired);
      return fired;
    },
  })),
);

const sourceFaults: readonly Fault[] = SOURCE_FAULTS.map((fault) => ({
  name: `source ${fault}`,
  async strike(world) {
    world.setSource(fault);
    await world.sleep(world.random.between(500, 8_000));
    const times = await felt(world, () => world.sourceFelt());
    world.setSource(undefined);
    return times;
  },
}));

const outages: readonly Fault[] = (['redis', 'kafka', 'auditStore'] as const).map((server) => ({
  name: `${server} away`,
  async strike(world) {
    world.setDown(server, 'connection refused');
    await world.sleep(world.random.between(300, 15_000));
    world.setDown(server, '');
    return 1;
  },
}));

const SLOW = ['answers slow', 'values evicted'];
const SET_BACK = 'offsets set back';
/** After these a partition may be read again from an earlier place, on purpose or as if. */
const REWINDS = [SET_BACK, 'late source.commit'];

const processFaults: readonly Fault[] = [
  { name: 'process killed', strike: async (world) => untilDone(world, () => world.killOne()) },
  { name: 'process stalled', strike: async (world) => untilDone(world, () => world.stallOne()) },
  { name: 'audit writer killed', strike: async (world) => (world.killAuditWriter(), 1) },
  { name: 'process joins', strike: async (world) => (await world.joinOne(), 1) },
  { name: 'process leaves', strike: async (world) => ((await world.leaveOne()) ? 1 : 0) },
  {
    name: 'message kills',
    async strike(world) {
      world.sendKiller();
      return felt(world, () => world.killerDeaths());
    },
  },
  { name: SET_BACK, strike: async (world) => (await world.rewind(), 1) },
];

const redisFaults: readonly Fault[] = [
  {
    name: 'redis out of memory',
    async strike(world) {
      const full = world.fillRedis(world.random.int(0, 1));
      await world.sleep(world.random.between(500, 10_000));
      const times = await felt(world, full.felt);
      full.over();
      return times;
    },
  },
  {
    name: 'redis rolled back',
    async strike(world) {
      const restore = await world.backUpRedis();
      await world.sleep(world.random.between(200, 6_000));
      await restore();
      return 1;
    },
  },
];

const ALL: readonly Fault[] = [
  ...processFaults,
  ...redisFaults,
  ...outages,
  ...sourceFaults,
  ...coherenceFaults,
  ...callFaults,
  ...readCallFaults,
];
/** Kinds are drawn first, so that the many calls do not crowd out the rest. */
const KINDS: readonly (readonly Fault[])[] = [
  processFaults,
  redisFaults,
  outages,
  sourceFaults,
  coherenceFaults,
  callFaults,
  callFaults,
  readCallFaults,
];

export const faultNames: readonly string[] = ALL.map(({ name }) => name);

export interface FaultPlan {
  readonly fired: readonly FaultFired[];
  isOver(): boolean;
}

/** Draws one to four faults and lets each strike at some time. */
export function startFaults(
  world: FaultWorld,
  wanted: readonly string[] | undefined,
  { hasOrdered, isSlow }: Pick<Habits, 'hasOrdered' | 'isSlow'>,
): FaultPlan {
  const { random } = world;
  const named = (names: readonly string[]): Fault[] => ALL.filter(({ name }) => names.includes(name));
  const asked = wanted === undefined ? draw(random) : named(wanted);
  if (wanted === undefined && isSlow) asked.push(...named(SLOW).filter((fault) => !asked.includes(fault)));
  // What only its place orders is older for a while when it is read again from there.
  const drawn = hasOrdered ? asked.filter(({ name }) => !REWINDS.includes(name)) : asked;
  const plan = drawn.map((fault) => ({ fault: fault.name, fired: 0, isOver: false }));
  drawn.forEach((fault, index) => {
    const entry = plan[index];
    if (entry === undefined) return;
    void world
      .sleep(random.between(0, 4_000))
      .then(() => fault.strike(world))
      .then((times) => {
        entry.fired = times;
        entry.isOver = true;
      });
  });
  return { fired: plan, isOver: () => plan.every(({ isOver }) => isOver) };
}

/** Of source faults one at most: a source is in one state at a time. */
function draw(random: Random): Fault[] {
  const drawn: Fault[] = [];
  for (let wanted = random.int(1, 4); drawn.length < wanted; ) {
    const fault = random.pick(random.pick(KINDS));
    const isSecond = sourceFaults.includes(fault) && drawn.some((other) => sourceFaults.includes(other));
    if (!isSecond) drawn.push(fault);
  }
  return drawn;
}
