/** One run of the simulation: a fleet over its servers, a workload, faults, and the history of it all. */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts';
import type { History, RepairWindow } from '../history.ts';
import { checkInvariants, type Violation } from '../invariants.ts';
import { createFaultWorld, type FaultNotes } from './fault-world.ts';
import { startFaults } from './faults.ts';
import { Fleet } from './fleet.ts';
import { BLIND_MS, type Plants } from './instance.ts';
import { ownTimers, play } from './own-time.ts';
import { createRandom } from './random.ts';
import { type Servers, startServers, streams } from './servers.ts';
import { TruthSource } from './truth.ts';
import { Watch } from './watch.ts';
import { createWorkload, type Habits, habitsOf } from './workload.ts';

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
  /** What of these is not to be drawn. */
  readonly habits?: Partial<Pick<Habits, 'hasOrdered' | 'isSlow'>>;
  /** A run that has not settled by then is judged as it stands, milliseconds. @defaultValue 30 minutes */
  readonly mostMs?: number;
}

const START_MS = Date.UTC(2026, 0, 1);
const MOST_STEPS = 150_000;
const MOST_MS = 30 * 60_000;
const SETTLED_MS = 2_500;
/** An instance is blind after so long, and what it then asks of Redis may take as long as a call does. */
const COHERENCE_MS = BLIND_MS + 1_000;
/** When nothing goes wrong: some calls that are slow by chance. */
const CALM_COHERENCE_MS = 2_500;

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
  readonly #habits: Habits;
  readonly #notes: FaultNotes = { repairs: [], isRedisRolledBack: false, isEvicting: false };
  #calmSinceMs = Number.POSITIVE_INFINITY;

  constructor(seed: number, options: SeedOptions, clock: VirtualClock) {
    this.#seed = seed;
    this.#options = options;
    this.#clock = clock;
    this.#random = createRandom(seed + 0x51ed);
    const random = this.#random;
    this.#servers = startServers(clock);
    this.#truth = new TruthSource(random);
    const drawn = habitsOf(random);
    const more = createRandom(seed + 0x0ffe);
    const hasOrdered = more.chance(0.5) && drawn.isKeyed;
    const habits = { ...drawn, hasOrdered, isSlow: more.chance(0.25), ...options.habits };
    this.#truth.announces = habits.announces;
    this.#watch = new Watch({
      clock,
      servers: this.#servers,
      fleet: () => this.#fleet,
      services: habits.hasOrdered ? ['inline', 'fetched', 'ordered'] : ['inline', 'fetched'],
      ids: Array.from({ length: habits.keys }, (_, index) => String(index + 1)),
      reading: {
        random: createRandom(seed + 0x7ead),
        pauseMs: habits.readPauseMs,
        throughToSource: habits.readsThrough,
        isCalm: this.#isCalm,
      },
    });
    const plants: Plants = {
      ...options.plants,
      tier: (tier, servers) => this.#watch.over(options.plants?.tier?.(tier, servers) ?? tier),
    };
    const shared = { clock, random, servers: this.#servers, truth: this.#truth };
    this.#fleet = new Fleet({ ...shared, caching: habits.caching, plants });
    this.#habits = habits;
    this.#workload = createWorkload({ ...shared, habits });
  }

  /** No fault is wanted. */
  get #isCalm(): boolean {
    return this.#options.faults?.length === 0;
  }

  async play(): Promise<SeedResult> {
    const clock = this.#clock;
    let isSent = false;
    this.#options.plants?.audit?.(this.#servers);
    this.#options.plants?.jobs?.(this.#servers.jobs);
    for (let count = this.#random.int(1, 3); count > 0; count -= 1) void this.#fleet.boot();
    void this.#fleet.bootAuditWriter();
    void this.#watch.run();
    const world = createFaultWorld({
      clock,
      random: this.#random,
      servers: this.#servers,
      truth: this.#truth,
      fleet: this.#fleet,
      workload: this.#workload,
      readers: this.#watch.readers,
      notes: this.#notes,
    });
    const faults = startFaults(world, this.#options.faults, this.#habits);
    void this.#workload
      .run(() => !faults.isOver())
      .then(() => {
        isSent = true;
      });
    void this.#lookForCalm(() => isSent && faults.isOver());
    const mostMs = this.#options.mostMs ?? MOST_MS;
    const isOver = (): boolean =>
      clock.now() - this.#calmSinceMs >= SETTLED_MS || clock.now() - START_MS > mostMs;
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
      const last = this.#notes.repairs.at(-1);
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
    if (this.#isCalm) {
      const value = this.#truth.mostReaders;
      this.#watch.levels.push({
        what: 'reads of one record from its source at once',
        value,
        bound: 1,
        atMs: 0,
      });
    }
    return {
      acknowledged: this.#workload.acknowledged,
      truth: this.#truth.history,
      audit: await audit.find({ limit: Number.MAX_SAFE_INTEGER }),
      // A rollback may take letters away whose records are safe in the audit store already.
      deadLetters: this.#notes.isRedisRolledBack ? undefined : jobs.dead.map(({ message }) => message),
      redis: this.#watch.finalCells(),
      local: await this.#watch.finalLocals(),
      samples: this.#watch.samples,
      accepted: this.#watch.accepted,
      offsets: this.#watch.offsets,
      levels: this.#watch.levels,
      faults,
      repairs: this.#notes.repairs satisfies readonly RepairWindow[],
      mayExpire: this.#notes.isEvicting,
      localTiers: 'atOnce',
      coherenceMs: this.#isCalm ? CALM_COHERENCE_MS : COHERENCE_MS,
    };
  }
}
