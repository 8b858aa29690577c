/** The processes of a run: booted, killed, stalled, started anew, and given up by Kafka when they are silent too long. */
import { createAuditWriter } from '../../../src/audit/writer.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { bootInstance, type Caching, type Instance, type Plants } from './instance.ts';
import { Network } from './network.ts';
import { clockOf, SimProcess } from './process.ts';
import type { ResyncReason } from '../../../src/core/ports.ts';
import type { Random } from './random.ts';
import { remoteOutbox, remoteStore } from './remote-ports.ts';
import { GROUP, type Servers } from './servers.ts';
import type { TruthSource } from './truth.ts';

const SESSION_TIMEOUT_MS = 10_000;

export interface FleetOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly servers: Servers;
  readonly truth: TruthSource;
  readonly caching: Caching;
  readonly plants: Plants;
}

export class Fleet {
  readonly network: Network;
  /** Chunks of one `addBulk` that Redis takes while it is out of memory; Infinity when it is not. */
  mostTaken = Number.POSITIVE_INFINITY;
  outOfMemory = 0;
  /** Deaths by a message that kills. */
  deadlyReads = 0;
  /** Calls that found the invalidation log out of reach, while the rest of Redis was there. */
  logLosses = 0;
  #instances: Instance[] = [];
  /** Dead ones too. */
  readonly #all: Instance[] = [];
  #starting = 0;
  readonly #booting = new Set<SimProcess>();
  #auditProcess: SimProcess | undefined;
  #booted = 0;
  readonly #options: FleetOptions;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.network = new Network({
      clock: options.clock,
      random: options.random,
      onKill: (process) => this.kill(process),
      onStall: (process) => this.stall(process),
    });
  }

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /** Nobody is dead, stalled or on the way up. */
  get isWhole(): boolean {
    return (
      this.#starting === 0 &&
      this.#booting.size === 0 &&
      this.#auditProcess?.isRunning === true &&
      this.#instances.every(({ process, follower }) => process.isRunning && follower.state() === 'fresh')
    );
  }

  /** How often local tiers were emptied for this reason. */
  resyncs(reason: ResyncReason): number {
    return this.#all.reduce((sum, { follower }) => sum + follower.stats().resyncs[reason], 0);
  }

  async boot(): Promise<void> {
    const { clock, servers, truth, caching, plants } = this.#options;
    const process = new SimProcess(`i${(this.#booted += 1)}`);
    this.#booting.add(process);
    const instance = await bootInstance({
      process,
      network: this.network,
      servers,
      truth,
      clock,
      caching,
      plants,
      onLogLost: () => (this.logLosses += 1),
      onKill: (dying) => {
        this.deadlyReads += 1;
        this.kill(dying);
      },
      mostTaken: () => {
        if (this.mostTaken < Number.POSITIVE_INFINITY) this.outOfMemory += 1;
        return this.mostTaken;
      },
    });
    this.#instances.push(instance);
    this.#all.push(instance);
    this.#booting.delete(process);
  }

  /** kill -9, and whoever watches over the fleet starts another in its place. */
  kill(process: SimProcess): void {
    if (process.isDead) return;
    process.kill();
    if (process === this.#auditProcess) return this.#later(() => this.bootAuditWriter());
    this.#booting.delete(process);
    this.#instances = this.#instances.filter((instance) => instance.process !== process);
    this.#giveUpUnlessBack(process);
    this.#later(() => this.boot());
  }

  stall(process: SimProcess): void {
    if (!process.isRunning) return;
    const { clock, random } = this.#options;
    process.stall();
    this.#giveUpUnlessBack(process);
    void clock.sleep(random.between(500, 25_000)).then(() => process.resume());
  }

  /** Leaves in peace, as at a deploy. False when nobody runs just now. */
  async leave(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#instances.length < 2) await this.boot();
    const instance = this.#instances.find(({ process }) => process.isRunning);
    if (instance === undefined) return false;
    this.#instances = this.#instances.filter((one) => one !== instance);
    await Promise.race([instance.leave(), clock.sleep(20_000)]);
    instance.process.kill();
    this.#options.servers.kafka.group(GROUP).giveUp(instance.process.name);
    return true;
  }

  killAll(): void {
    for (const { process } of this.#instances) this.kill(process);
  }

  async bootAuditWriter(): Promise<void> {
    const { clock, servers } = this.#options;
    const process = new SimProcess('audit');
    this.#auditProcess = process;
    const remote = { process, network: this.network };
    const writer = createAuditWriter({
      outbox: remoteOutbox(remote, servers.jobs),
      store: remoteStore(remote, servers.audit),
      clock: clockOf(process, clock),
      onLag: () => undefined,
      onError: () => undefined,
    });
    void writer.run(new AbortController().signal);
  }

  killAuditWriter(): void {
    if (this.#auditProcess !== undefined) this.kill(this.#auditProcess);
  }

  /** Redis goes: every connection to it is cut. */
  redisGone(): void {
    for (const { process } of this.#instances) process.isCutOff = true;
  }

  /** Redis is there again: each process connects in its own time, and is told so before its next call goes out. */
  redisReturned(reason: string): void {
    const { clock, random } = this.#options;
    for (const { process, redisReturned } of this.#instances) {
      void clock
        .sleep(random.between(5, 3_000))
        .then(() => process.awake())
        .then(() => {
          process.isCutOff = false;
          redisReturned(reason);
        });
    }
  }

  /** Kafka gives up who is silent for longer than the session timeout. */
  #giveUpUnlessBack(process: SimProcess): void {
    const { clock, servers } = this.#options;
    void clock.sleep(SESSION_TIMEOUT_MS).then(() => {
      if (!process.isRunning) servers.kafka.group(GROUP).giveUp(process.name);
    });
  }

  #later(start: () => Promise<void>): void {
    const { clock, random } = this.#options;
    this.#starting += 1;
    void clock.sleep(random.between(300, 4_000)).then(async () => {
      this.#starting -= 1;
      await start();
    });
  }
}
