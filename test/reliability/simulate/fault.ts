/** A fault of the simulation, and what it may do to the world. */
import type { ResyncReason } from '../../../src/core/ports.ts';
import type { CallFault } from './network.ts';
import type { Random } from './random.ts';
import type { SourceFault } from './truth.ts';

/** What a fault may do to the world. */
export interface FaultWorld {
  readonly random: Random;
  sleep(ms: number): Promise<void>;
  /** Hits one of the next calls of a port. */
  trap(port: string, fault: CallFault, skip: number, fired: () => void): void;
  killOne(): boolean;
  stallOne(): boolean;
  joinOne(): Promise<void>;
  leaveOne(): Promise<boolean>;
  setSource(fault: SourceFault | undefined): void;
  /** How often the source's present fault was met by a fetch. */
  sourceFelt(): number;
  setDown(server: 'redis' | 'kafka' | 'auditStore', reason: string): void;
  /** Redis is out of memory: how many chunks of a call it still takes. */
  fillRedis(most: number): { readonly felt: () => number; readonly over: () => void };
  backUpRedis(): Promise<() => Promise<void>>;
  killAuditWriter(): void;
  sendKiller(): void;
  killerDeaths(): number;
  rewind(): Promise<void>;
  /** Many answers are held back: what they tell may have changed meanwhile. */
  slowDown(): { readonly felt: () => number; readonly over: () => void };
  /** Readers go through to the source from now on. */
  readThrough(): void;
  /** Redis drops the values it has, and keeps the fences; returns how many. */
  evictValues(): number;
  /** One instance cannot read the invalidation log, and can do all the rest. */
  cutLog(): { readonly felt: () => number; readonly over: () => void };
  /** The next entry of the log is gone before anybody has read it. */
  trimLog(): void;
  /** The log's counter is deleted; false: there was none. */
  loseCounter(): boolean;
  /** Connections to Redis are cut, and another process with the same data answers. */
  failOver(): void;
  resyncs(reason: ResyncReason): number;
}

export interface Fault {
  readonly name: string;
  /** Runs until the fault is over; returns how often it was felt. */
  readonly strike: (world: FaultWorld) => Promise<number>;
}

export const CALL_FAULTS: readonly CallFault[] = [
  'lostRequest',
  'lostReply',
  'twice',
  'late',
  'slowReply',
  'killBefore',
  'killAfter',
  'stallBefore',
  'stallAfter',
];
/** How long a fault waits to be felt before it gives up. */
export const PATIENCE_MS = 60_000;
export const LOOK_MS = 250;

/** Waits until a fault was felt, and returns how often. */
export async function felt(world: FaultWorld, times: () => number): Promise<number> {
  for (let waited = 0; times() === 0 && waited < PATIENCE_MS; waited += LOOK_MS) await world.sleep(LOOK_MS);
  return times();
}

/** Tries again and again until it could be done; 1, or 0 when it never could. */
export async function untilDone(world: FaultWorld, act: () => boolean): Promise<number> {
  for (let waited = 0; waited < PATIENCE_MS; waited += LOOK_MS) {
    if (act()) return 1;
    await world.sleep(LOOK_MS);
  }
  return 0;
}
