import { setTimeout as delay } from 'node:timers/promises';
import { type Instance, springTrap } from '../fleet.ts';
import type { TrapPoint } from '../traps.ts';
import type { World } from '../world.ts';
import { type Fault, GOAL_MS, type Struck } from './fault.ts';

/** Beyond lock (4 s) and stall interval (3 s), so that another has taken the job up. */
const PAUSE_MS = 9_000;
const BLOCK_MS = 10_000;

function victimOf({ alive, random }: World): Instance {
  return random.pick(alive());
}

/** kill -9 at one point. Half of the victims are replaced at once, the others' work is left to who remains. */
function killAt(point: TrapPoint, name: string, what: string): Fault {
  return {
    name,
    what,
    goalMs: GOAL_MS,
    async strike(world) {
      const victim = victimOf(world);
      await springTrap(victim, { point, action: { kind: 'kill' }, passes: world.random.below(3) });
      const { signal, atMs } = await victim.ended;
      if (signal !== 'SIGKILL') throw new Error(`${victim.name} ended by ${signal}`);
      if (world.random.next() < 0.5) await world.start();
      return { proof: `${victim.name} died by SIGKILL at ${point}`, overMs: atMs };
    },
  };
}

const STATES = ['received', 'parsed', 'fetched', 'localCached', 'evicting'] as const;

const pausedBeyondLock: Fault = {
  name: 'stop-beyond-lock',
  what: 'SIGSTOP with a write in hand, for longer than lock and stall interval, then SIGCONT',
  goalMs: GOAL_MS,
  async strike(world) {
    const victim = victimOf(world);
    const point = world.random.pick(['fetched', 'localCached', 'evicting', 'written'] as const);
    const action = { kind: 'stop' } as const;
    const overMs = await springTrap(victim, { point, action, passes: world.random.below(3) });
    await delay(PAUSE_MS);
    victim.signal('SIGCONT');
    return {
      proof: `${victim.name} was stopped at ${point} for ${PAUSE_MS} ms`,
      // From its silence on: what it held is to be taken up by another long before it goes on.
      overMs,
      prove: (after) => proveLost(after, victim),
    };
  },
};

const loopBlocked: Fault = {
  name: 'loop-blocked',
  what: 'the event loop blocked for 10 s with work in hand',
  goalMs: GOAL_MS,
  async strike(world) {
    const victim = victimOf(world);
    const point = world.random.pick(['parsed', 'fetched', 'localCached'] as const);
    const action = { kind: 'block', ms: BLOCK_MS } as const;
    const overMs = await springTrap(victim, { point, action, passes: world.random.below(3) });
    await delay(BLOCK_MS);
    return {
      proof: `${victim.name} was blocked at ${point} for ${BLOCK_MS} ms`,
      overMs,
      prove: (after) => proveLost(after, victim),
    };
  },
};

/** What outlived its lock was taken up by another, and says so itself when it goes on. */
async function proveLost({ books }: World, victim: Instance): Promise<string> {
  const lost = (await books.rows()).filter(({ state }) => state === 'lost').length;
  const told = /the lock is gone|execution aborted|handed a job/.exec(victim.log())?.[0];
  if (lost === 0 && told === undefined) throw new Error(`${victim.name} lost no execution`);
  return `${lost} rows are on record as lost; it says: ${told ?? 'nothing'}`;
}

const joinsAndLeaves: Fault = {
  name: 'instance-joins-and-leaves',
  what: 'a third instance joins, then one of the first leaves by SIGTERM',
  goalMs: GOAL_MS,
  async strike(world): Promise<Struck> {
    const leaving = victimOf(world);
    const joined = await world.start();
    await delay(1_000);
    leaving.signal('SIGTERM');
    const { code, atMs } = await leaving.ended;
    if (code !== 0) throw new Error(`${leaving.name} ended with ${code}:\n${leaving.log()}`);
    return {
      proof: `${joined.name} joined, ${leaving.name} left with code 0`,
      overMs: atMs,
      async prove({ books }) {
        const own = (await books.rows()).filter(({ worker }) => worker === joined.name).length;
        if (own === 0) throw new Error(`${joined.name} joined and did nothing`);
        return `${joined.name} worked on ${own} messages`;
      },
    };
  },
};

const heapLimit: Fault = {
  name: 'heap-limit',
  what: 'an instance fills its heap to the limit and dies of it',
  goalMs: GOAL_MS,
  isNightly: true,
  async strike(world) {
    const victim = await world.start({ nodeArgs: ['--max-old-space-size=96'] });
    await delay(1_000);
    victim.order({ kind: 'hog' });
    const { signal, atMs } = await victim.ended;
    if (!/heap out of memory|heap limit/i.test(victim.log()))
      throw new Error(`${victim.name} ended by ${signal} and not of its heap:\n${victim.log()}`);
    return { proof: `${victim.name} died of its heap limit (${signal})`, overMs: atMs };
  },
};

const clockOff: Fault = {
  name: 'clock-one-hour-off',
  what: 'an instance whose clock is an hour ahead joins and takes part',
  goalMs: GOAL_MS,
  isNightly: true,
  async strike(world) {
    const sign = world.random.pick(['+', '-']);
    const shifted = await world.start({ before: ['faketime', '-f', `${sign}1h`] });
    return {
      proof: `${shifted.name} joined with its clock ${sign}1 h off`,
      overMs: Date.now(),
      otherClock: shifted.name,
      async prove({ books }) {
        const rows = (await books.rows()).filter(({ worker }) => worker === shifted.name);
        const offMs = Math.abs((rows.at(-1)?.endedMs ?? Date.now()) - Date.now());
        if (offMs < 3_000_000) throw new Error(`${shifted.name} dated nothing an hour off`);
        return `${rows.length} rows are dated about an hour off`;
      },
    };
  },
};

export const processFaults: readonly Fault[] = [
  ...STATES.map((state) =>
    killAt(
      state,
      `kill-${state.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
      `kill -9 in state ${state}`,
    ),
  ),
  killAt('written', 'kill-after-write', 'kill -9 after Redis took a write, before anything is closed'),
  killAt('closed', 'kill-after-closing', 'kill -9 after the closing, before the job is done'),
  killAt('enqueued', 'kill-before-mark', 'kill -9 between enqueue and mark'),
  killAt('marked', 'kill-before-commit', 'kill -9 between mark and commit'),
  pausedBeyondLock,
  loopBlocked,
  joinsAndLeaves,
  heapLimit,
  clockOff,
];
