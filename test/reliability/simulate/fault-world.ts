/** What faults do to the world of one run. */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import type { FaultWorld } from './fault.ts';
import type { Fleet } from './fleet.ts';
import type { Random } from './random.ts';
import type { Readers } from './readers.ts';
import { GROUP, type Servers, streams, TOPIC } from './servers.ts';
import type { TruthSource } from './truth.ts';
import type { Workload } from './workload.ts';

export interface FaultSurroundings {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly servers: Servers;
  readonly truth: TruthSource;
  readonly fleet: Fleet;
  readonly workload: Workload;
  readonly readers: Readers;
  readonly notes: FaultNotes;
}

/** What was done that the invariants have to know. */
export interface FaultNotes {
  readonly repairs: { fromMs: number; toMs: number; why: string }[];
  isRedisRolledBack: boolean;
  /** Redis evicts values: a key may be without one at the end. */
  isEvicting: boolean;
}

export function createFaultWorld(around: FaultSurroundings): FaultWorld {
  const { clock, random, servers, truth, fleet, workload } = around;
  const { network } = fleet;
  const pick = () => {
    const running = fleet.instances.filter(({ process }) => process.isRunning);
    return running.length === 0 ? undefined : random.pick(running).process;
  };
  return {
    random,
    sleep: (ms) => clock.sleep(ms),
    trap: (port, fault, skip, fired) => network.setTrap({ port, fault, skip, fired }),
    killOne() {
      const process = pick();
      if (process !== undefined) fleet.kill(process);
      return process !== undefined;
    },
    stallOne() {
      const process = pick();
      if (process !== undefined) fleet.stall(process);
      return process !== undefined;
    },
    joinOne: () => fleet.boot(),
    leaveOne: () => fleet.leave(),
    setSource: (fault) => {
      truth.fault = fault;
      truth.felt = 0;
    },
    sourceFelt: () => truth.felt,
    setDown: (server, reason) => {
      network.setDown(server, reason);
      network.cut(server);
      if (server !== 'redis') return;
      if (reason === '') fleet.redisReturned('Redis is connected again');
      else fleet.redisGone();
    },
    fillRedis: (most) => {
      fleet.mostTaken = most;
      const before = fleet.outOfMemory;
      return {
        felt: () => fleet.outOfMemory - before,
        over: () => {
          fleet.mostTaken = Number.POSITIVE_INFINITY;
        },
      };
    },
    backUpRedis: async () => {
      const restore = await servers.backUp();
      return () => rollBack(around, restore);
    },
    killAuditWriter: () => fleet.killAuditWriter(),
    sendKiller: () => workload.sendKiller(),
    killerDeaths: () => fleet.deadlyReads,
    rewind: () => rewind(around),
    ...createReadWorld(around),
  };
}

function createReadWorld({
  random,
  servers,
  fleet,
  readers,
  notes,
}: FaultSurroundings): Pick<
  FaultWorld,
  'slowDown' | 'readThrough' | 'evictValues' | 'cutLog' | 'trimLog' | 'loseCounter' | 'failOver' | 'resyncs'
> {
  const { log, tier } = servers;
  return {
    slowDown: () => fleet.network.slowDown(),
    readThrough: () => {
      readers.throughToSource = true;
    },
    evictValues: () => {
      notes.isEvicting = true;
      const values = [...tier.cells.keys()].filter((key) => !key.startsWith('fence:'));
      for (const key of values) tier.cells.delete(key);
      return values.length;
    },
    cutLog: () => {
      const running = fleet.instances.filter(({ process }) => process.isRunning);
      const process = running.length === 0 ? undefined : random.pick(running).process;
      const before = fleet.logLosses;
      if (process !== undefined) process.isLogCut = true;
      return {
        felt: () => fleet.logLosses - before,
        over: () => {
          if (process !== undefined) process.isLogCut = false;
        },
      };
    },
    trimLog: () => log.trimNext(),
    loseCounter() {
      const hadOne = log.stream.counter !== undefined;
      log.stream.counter = undefined;
      return hadOne;
    },
    failOver: () => {
      log.startAnew();
      fleet.network.cut('redis');
    },
    resyncs: (reason) => fleet.resyncs(reason),
  };
}

async function rollBack(
  { clock, random, fleet, notes }: FaultSurroundings,
  restore: () => void,
): Promise<void> {
  const { network } = fleet;
  network.setDown('redis', 'LOADING');
  network.cut('redis');
  fleet.redisGone();
  await clock.sleep(random.between(100, 3_000));
  restore();
  notes.isRedisRolledBack = true;
  const fromMs = clock.now();
  notes.repairs.push({ fromMs, toMs: Number.POSITIVE_INFINITY, why: 'Redis was rolled back' });
  network.setDown('redis', '');
  fleet.redisReturned('Redis was started anew');
}

/** An operator stops the group, sets its offsets back, and starts it. */
async function rewind({ clock, random, servers, fleet }: FaultSurroundings): Promise<void> {
  const { kafka } = servers;
  fleet.killAll();
  for (const { partition } of streams) {
    const place = `${GROUP} ${TOPIC}/${partition}`;
    const committed = Number(kafka.commits.get(place) ?? 0);
    if (committed > 0) kafka.commits.set(place, String(random.int(0, committed - 1)));
  }
  await clock.sleep(5_000);
}
