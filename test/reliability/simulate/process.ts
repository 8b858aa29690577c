import type { Clock } from '../../../src/core/ports.ts';

/**
 * A process of the simulated fleet. A dead one's code never goes on from where it waits, which is what kill -9 does to it;
 * a stalled one's (SIGSTOP, a blocked event loop) goes on when it is resumed, and finds a world that did not wait.
 */
export class SimProcess {
  readonly name: string;
  /** Its connections to Redis were cut and are not back yet: calls fail at once. */
  isCutOff = false;
  /** Its connection to the invalidation log does not work, while the others do. */
  isLogCut = false;
  #isDead = false;
  #resumed: PromiseWithResolvers<void> | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isRunning(): boolean {
    return !this.#isDead && this.#resumed === undefined;
  }

  kill(): void {
    this.#isDead = true;
  }

  stall(): void {
    this.#resumed ??= Promise.withResolvers();
  }

  resume(): void {
    this.#resumed?.resolve();
    this.#resumed = undefined;
  }

  /** Resolves when the process may go on: at once, when it is resumed, or never. */
  async awake(): Promise<void> {
    while (this.#resumed !== undefined && !this.#isDead) await this.#resumed.promise;
    if (this.#isDead) await new Promise<never>(() => undefined);
  }
}

/** The world's clock as a process has it: whoever sleeps in a stalled process wakes when it is resumed. */
export function clockOf(process: SimProcess, world: Clock): Clock {
  return {
    now: () => world.now(),
    random: () => world.random(),
    async sleep(ms, signal) {
      try {
        await world.sleep(ms, signal);
      } finally {
        await process.awake();
      }
    },
  };
}
