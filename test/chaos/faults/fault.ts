import type { World } from '../world.ts';

/** A fault of the suite. */
export interface Fault {
  readonly name: string;
  /** What it does, in a few words, for the report. */
  readonly what: string;
  /** Three brokers of its own run, since one or all of them die. @defaultValue false */
  readonly killsBrokers?: boolean;
  /** Which services reach Redis through a proxy. @defaultValue none */
  readonly behindProxy?: 'all' | 'first';
  /** The audit file lies on a tmpfs of a few MB. @defaultValue false */
  readonly auditOnSmallDisk?: boolean;
  /** Only with `--nightly`. @defaultValue false */
  readonly isNightly?: boolean;
  /** What is recovering: the goal for it is p99 ≤ 10 s, for a broker ≤ 20 s. */
  readonly goalMs: number;
  /**
   * Lets it happen while messages flow, and returns when it is over.
   *
   * @throws when it did not really happen: then the run proves nothing
   */
  strike(world: World): Promise<Struck>;
}

export interface Struck {
  /** What shows that it happened, in words. */
  readonly proof: string;
  /** From when on the service could recover: the moment of a crash, the end of an outage. Epoch milliseconds. */
  readonly overMs: number;
  /** Redis knew less than before from this moment on, until everything has converged again. */
  readonly rolledBackMs?: number;
  /** This instance's clock is not ours: what it dated cannot be used as a time. */
  readonly otherClock?: string;
  /** Looked at when all is over: proof that only the books can give. Throws when it is missing. */
  readonly prove?: (world: World) => Promise<string>;
}

/** Recovery goals: processes and Redis, and brokers, milliseconds. */
export const GOAL_MS = 10_000;
export const BROKER_GOAL_MS = 20_000;
