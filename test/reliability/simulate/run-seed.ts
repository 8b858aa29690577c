/** One run of the simulation: a fleet over its servers, a workload, faults, and the history of it all. */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts';
import type { History, RepairWindow } from '../history.ts';
import { checkInvariants, type Violation } from '../invariants.ts';
import { type FaultWorld, startFaults } from './faults.ts';
import { Fleet } from './fleet.ts';
import type { Plants } from './instance.ts';
import { ownTimers, play } from './own-time.ts';
import { createRandom } from './random.ts';
import { GROUP, type Servers, startServers, streams, TOPIC } from './servers.ts';
import { TruthSource } from './truth.ts';
import { Watch } from './watch.ts';
import { createWorkload, habitsOf } from './workload.ts';

export interface SeedResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** False when a fault that was drawn never happened: the run proves nothing about it. */
  readonly counts: boolean;
  readonly faults: readonly string[];
  readonly messages: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly history: History;
}

export interface SeedOptions {
  /** Only these faults, each once; undefined: drawn. */
  readonly faults?: readonly string[];
  readonly plants?: Plants;
}

const START_MS = Date.UTC(2026, 0, 1);
const MOST_STEPS = 150_000;
const MOST_MS = 30 * 60_000;
const SETTLED_MS = 2_500;

/** The same seed and options give the same run, step by step. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const random = createRandom(seed);
  const clock = createVirtualClock(START_MS, () => random.next());
  const restoreTimers = ownTimers(clock);
  try {
    return await new Run(seed, options, clock).play();
  } finally {
    restoreTimers();
  }
}

class Run {
  readonly #seed: number;
  readonly #options: SeedOptions;
  readonly #clock: VirtualClock;
  readonly #random;
  readonly #servers: Servers;
  readonly #truth: TruthSource;
  readonly #fleet: Fleet;
  readonly #watch: Watch;
  readonly #workload;
  readonly #repairs: { fromMs: number; toMs: number; why: string }[] = [];
  #isRedisRolledBack = false;
  #calmSinceMs = Number.POSITIVE_INFINITY;

  constructor(seed: number, options: SeedOptions, clock: VirtualClock) {
    this.#seed = seed;
    this.#options = options;
    this.#clock = clock;
    this.#random = createRandom(seed + 0x51ed);
    const random = this.#random;
    this.#servers = startServers(clock);
    this.#truth = new TruthSource(random);
    const habits = habitsOf(random);
    this.#truth.announces = habits.announces;
    this.#watch = new Watch({
      clock,
      servers: this.#servers,
      fleet: () => this.#fleet,
      ids: Array.from({ length: habits.keys }, (_, index) => String(index + 1)),
    });
    const plants: Plants = {
      ...options.plants,
      tier: (tier, servers) => this.#watch.over(options.plants?.tier?.(tier, servers) ?? tier),
    };
    const shared = { clock, random, servers: this.#servers, truth: this.#truth };
    this.#fleet = new Fleet({ ...shared, plants });
    this.#workload = createWorkload({ ...shared, habits });
  }

  async play(): Promise<SeedResult> {
    const clock = this.#clock;
    let isSent = false;
    this.#options.plants?.audit?.(this.#servers);
    this.#options.plants?.jobs?.(this.#servers.jobs);
    for (let count = this.#random.int(1, 3); count > 0; count -= 1) void this.#fleet.boot();
    void this.#fleet.bootAuditWriter();
    void this.#watch.run();
    const faults = startFaults(this.#faultWorld(), this.#options.faults);
    void this.#workload
      .run(() => !faults.isOver())
      .then(() => {
        isSent = true;
      });
    void this.#lookForCalm(() => isSent && faults.isOver());
    const isOver = (): boolean =>
      clock.now() - this.#calmSinceMs >= SETTLED_MS || clock.now() - START_MS > MOST_MS;
    const steps = await play(clock, isOver, MOST_STEPS);
    const history = await this.#history(faults.fired);
    const violations = checkInvariants(history);
    return {
      seed: this.#seed,
      violations: violations.filter(({ invariant }) => !invariant.startsWith('7')),
      counts: !violations.some(({ invariant }) => invariant.startsWith('7')),
      faults: faults.fired.map(({ fault }) => fault),
      messages: this.#workload.acknowledged.length,
      steps,
      virtualMs: clock.now() - START_MS,
      history,
    };
  }

  /** Notes since when all that was sent is done, nobody is down and every fault is over; a repair ends then, too. */
  async #lookForCalm(isQuiet: () => boolean): Promise<void> {
    for (;;) {
      await this.#clock.sleep(250);
      const isDone = await this.#isDone();
      const nowMs = this.#clock.now();
      const last = this.#repairs.at(-1);
      if (isDone && last !== undefined && last.toMs === Number.POSITIVE_INFINITY) last.toMs = nowMs;
      if (!isDone || !isQuiet()) this.#calmSinceMs = Number.POSITIVE_INFINITY;
      else this.#calmSinceMs = Math.min(this.#calmSinceMs, nowMs);
    }
  }

  async #isDone(): Promise<boolean> {
    const { jobs, kafka, marks } = this.#servers;
    if (jobs.size > 0 || jobs.audit.length > 0 || !this.#fleet.isWhole) return false;
    if (this.#fleet.network.isDown('redis')) return false;
    for (const stream of streams) {
      const log = kafka.log(stream.topic, stream.partition);
      const mark = await marks.read(stream);
      const enqueued = mark === null || mark.enqueued === '' ? -1 : Number(mark.enqueued);
      if (enqueued + 1 < log.low + log.records.length) return false;
    }
    return true;
  }

  async #history(faults: History['faults']): Promise<History> {
    const { audit, jobs } = this.#servers;
    return {
      acknowledged: this.#workload.acknowledged,
      truth: this.#truth.history,
      audit: await audit.find({ limit: Number.MAX_SAFE_INTEGER }),
      // A rollback may take letters away whose records are safe in the audit store already.
      deadLetters: this.#isRedisRolledBack ? undefined : jobs.dead.map(({ message }) => message),
      redis: this.#watch.finalCells(),
      local: await this.#watch.finalLocals(),
      samples: this.#watch.samples,
      accepted: this.#watch.accepted,
      offsets: this.#watch.offsets,
      levels: this.#watch.levels,
      faults,
      repairs: this.#repairs satisfies readonly RepairWindow[],
      mayExpire: false,
      localTiers: 'withinTtl',
    };
  }

  #faultWorld(): FaultWorld {
    const fleet = this.#fleet;
    const { network } = fleet;
    const pick = () => {
      const running = fleet.instances.filter(({ process }) => process.isRunning);
      return running.length === 0 ? undefined : this.#random.pick(running).process;
    };
    return {
      random: this.#random,
      sleep: (ms) => this.#clock.sleep(ms),
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
        this.#truth.fault = fault;
        this.#truth.felt = 0;
      },
      sourceFelt: () => this.#truth.felt,
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
        const restore = await this.#servers.backUp();
        return () => this.#rollBack(restore);
      },
      killAuditWriter: () => fleet.killAuditWriter(),
      sendKiller: () => this.#workload.sendKiller(),
      killerDeaths: () => fleet.deadlyReads,
      rewind: () => this.#rewind(),
    };
  }

  async #rollBack(restore: () => void): Promise<void> {
    const { network } = this.#fleet;
    network.setDown('redis', 'LOADING');
    network.cut('redis');
    this.#fleet.redisGone();
    await this.#clock.sleep(this.#random.between(100, 3_000));
    restore();
    this.#isRedisRolledBack = true;
    const fromMs = this.#clock.now();
    this.#repairs.push({ fromMs, toMs: Number.POSITIVE_INFINITY, why: 'Redis was rolled back' });
    network.setDown('redis', '');
    this.#fleet.redisReturned('Redis was started anew');
  }

  /** An operator stops the group, sets its offsets back, and starts it. */
  async #rewind(): Promise<void> {
    const { kafka } = this.#servers;
    this.#fleet.killAll();
    for (const { partition } of streams) {
      const place = `${GROUP} ${TOPIC}/${partition}`;
      const committed = Number(kafka.commits.get(place) ?? 0);
      if (committed > 0) kafka.commits.set(place, String(this.#random.int(0, committed - 1)));
    }
    await this.#clock.sleep(5_000);
  }
}
