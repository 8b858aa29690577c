/**
 * Every call of a process to a server goes through here: it takes time, and may be lost, answered late, done twice, done
 * after the caller has given it up, or be the last thing its process does.
 */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import type { SimProcess } from './process.ts';
import type { Random } from './random.ts';

export type ServerName = 'redis' | 'kafka' | 'source' | 'auditStore';

/** What happens to one call. */
export type CallFault =
  | 'lostRequest'
  | 'lostReply'
  | 'twice'
  /** Done long after the caller gave it up, as by a connection that held it back. */
  | 'late'
  /** Answered in time, but only just: long enough for others to change what it tells. */
  | 'slowReply'
  | 'killBefore'
  | 'killAfter'
  | 'stallBefore'
  | 'stallAfter';

/** A call to be hit: the nth of its port from now on. */
export interface Trap {
  readonly port: string;
  readonly fault: CallFault;
  /** How many more calls of the port go through before it. */
  skip: number;
  readonly fired: () => void;
}

export interface NetworkOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly onKill: (process: SimProcess) => void;
  readonly onStall: (process: SimProcess) => void;
}

/** As `commandTimeoutMs` of the product's connections. */
const TIMEOUT_MS = 5_000;

export class Network {
  readonly #options: NetworkOptions;
  readonly #traps: Trap[] = [];
  readonly #down = new Map<ServerName, string>();
  /** Answers held back, how often; undefined: all are quick. */
  #slowed: { felt: number } | undefined;
  /** Counts how often connections to a server were cut: a call that was under way then is lost. */
  readonly #cuts = new Map<ServerName, number>();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  setTrap(trap: Trap): void {
    this.#traps.push(trap);
  }

  /** Calls fail at once from now on, for this reason; '' ends that. */
  setDown(server: ServerName, reason: string): void {
    if (reason === '') this.#down.delete(server);
    else this.#down.set(server, reason);
  }

  /** Many answers are held back for a while; returns how many were so far, and how to end it. */
  slowDown(): { readonly felt: () => number; readonly over: () => void } {
    const slowed = { felt: 0 };
    this.#slowed = slowed;
    return {
      felt: () => slowed.felt,
      over: () => {
        this.#slowed = undefined;
      },
    };
  }

  isDown(server: ServerName): boolean {
    return this.#down.has(server);
  }

  /** Cuts all connections: what is under way gets no answer. */
  cut(server: ServerName): void {
    this.#cuts.set(server, (this.#cuts.get(server) ?? 0) + 1);
  }

  /**
   * @param effect what the server does: in one step, at a time of the network's choosing
   * @param lost makes the error of a call whose answer did not come
   */
  async call<T>(
    process: SimProcess,
    server: ServerName,
    port: string,
    effect: () => T | Promise<T>,
    lost: (reason: string) => Error,
  ): Promise<T> {
    const { clock } = this.#options;
    await process.awake();
    const fault = this.#spring(port);
    if (fault === 'killBefore') this.#options.onKill(process);
    if (fault === 'stallBefore') this.#options.onStall(process);
    await process.awake();
    const cuts = this.#cuts.get(server) ?? 0;
    const isCut = (): boolean => cuts !== (this.#cuts.get(server) ?? 0);
    await clock.sleep(this.#latencyMs());
    const down = server === 'redis' && process.isCutOff ? 'not connected' : this.#down.get(server);
    if (down !== undefined || isCut()) return this.#lose(process, 0, lost, down ?? 'the connection was cut');
    if (fault === 'lostRequest') return this.#lose(process, TIMEOUT_MS, lost, 'no answer (request lost)');
    if (fault === 'late') {
      void this.#later(server, effect);
      return this.#lose(process, TIMEOUT_MS, lost, 'no answer (held back)');
    }
    let result = await effect();
    if (fault === 'twice') {
      await clock.sleep(this.#latencyMs());
      result = await effect();
    }
    if (fault === 'killAfter') this.#options.onKill(process);
    if (fault === 'stallAfter') this.#options.onStall(process);
    if (fault === 'slowReply') await clock.sleep(this.#slowMs());
    if (this.#slowed !== undefined && this.#options.random.chance(0.4)) {
      this.#slowed.felt += 1;
      await clock.sleep(this.#options.random.between(50, 2_000));
    }
    if (fault === 'lostReply') return this.#lose(process, TIMEOUT_MS, lost, 'no answer (reply lost)');
    await clock.sleep(this.#latencyMs());
    await process.awake();
    if (isCut()) return this.#lose(process, 0, lost, 'the connection was cut');
    return result;
  }

  async #lose(
    process: SimProcess,
    afterMs: number,
    lost: (reason: string) => Error,
    reason: string,
  ): Promise<never> {
    await this.#options.clock.sleep(afterMs);
    await process.awake();
    throw lost(reason);
  }

  async #later(server: ServerName, effect: () => unknown): Promise<void> {
    const { clock, random } = this.#options;
    await clock.sleep(random.between(TIMEOUT_MS / 2, TIMEOUT_MS * 4));
    try {
      if (!this.#down.has(server)) await effect();
    } catch {
      // Nobody waits for the answer any more.
    }
  }

  #spring(port: string): CallFault | undefined {
    const at = this.#traps.findIndex((trap) => trap.port === port && (trap.skip -= 1) < 0);
    const [trap] = at === -1 ? [] : this.#traps.splice(at, 1);
    trap?.fired();
    return trap?.fault;
  }

  #slowMs(): number {
    return this.#options.random.between(500, TIMEOUT_MS - 1_000);
  }

  /** Mostly quick; now and then slow, so that calls overtake each other. */
  #latencyMs(): number {
    const { random } = this.#options;
    return random.chance(0.05) ? random.between(5, 400) : random.between(0.1, 3);
  }
}
