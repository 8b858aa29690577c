import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Binding, bound } from './bound.ts';
import { leftovers, privateDir } from './leftovers.ts';

export { freePort } from './free-port.ts';
export { privateDir } from './leftovers.ts';

/** How to start a server and how it wants to die. */
export interface ChildOptions extends Binding {
  /** Used in messages and as the name of the log file. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where the log goes; a private directory of its own when left out. */
  readonly logDir?: string;
}

/** A server we started. It never outlives this process. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  isRunning(): boolean;
  /** The last `lines` lines the server wrote. */
  logTail(lines?: number): string;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when it is still there after `deadlineMs`. */
  stop(deadlineMs?: number): Promise<void>;
  /** SIGKILL, as a crash would be. */
  kill(): Promise<void>;
  /** Like {@link waitFor}, but fails at once, with the log, when the server is gone. */
  waitUntil<T>(condition: Condition<T>, options: WaitOptions): Promise<T>;
}

type Condition<T> = () => T | false | null | undefined | Promise<T | false | null | undefined>;

export interface WaitOptions {
  /** What we wait for, as it should read in "gave up waiting for …". */
  readonly what: string;
  /** @defaultValue 30_000 */
  readonly timeoutMs?: number;
  /** Pause between two looks. @defaultValue 20 */
  readonly everyMs?: number;
  /** Errors after which waiting on makes no sense: they are thrown at once. */
  readonly giveUpOn?: (error: unknown) => boolean;
}

/**
 * Waits until `condition` answers with something other than `false`, `null` or `undefined`, and returns that.
 * A throwing condition counts as "not yet"; its last error is the cause of the failure.
 */
export async function waitFor<T>(condition: Condition<T>, options: WaitOptions): Promise<T> {
  const { what, timeoutMs = 30_000, everyMs = 20, giveUpOn } = options;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await condition();
      if (answer !== false && answer !== null && answer !== undefined) return answer;
    } catch (error) {
      if (error instanceof GoneError || giveUpOn?.(error) === true) throw error;
      lastError = error;
    }
    if (performance.now() > deadline)
      throw new Error(`gave up waiting for ${what} after ${timeoutMs} ms`, { cause: lastError });
    await delay(everyMs);
  }
}

/** The server we wait for has ended: no use in waiting on. */
class GoneError extends Error {
  override readonly name = 'GoneError';
}

/** Starts a server. Returns as soon as the process exists; use `waitUntil` for readiness. */
export function startChild(options: ChildOptions): Child {
  const { name, lastSignal = 'SIGKILL' } = options;
  const logFile = join(options.logDir ?? privateDir(`${name}-log`), `${name}.log`);
  const log = openSync(logFile, 'a');
  const [command, args] = bound(options.command, options.args, options);
  // A session of its own: Ctrl-C in a terminal reaches us only, and we stop the servers in order.
  const child = spawn(command, args, {
    stdio: ['ignore', log, log],
    detached: true,
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  closeSync(log);
  const { pid } = child;
  if (pid === undefined) {
    child.on('error', () => undefined);
    throw new Error(`cannot start ${name}: is ${options.command} installed?`);
  }
  const ended = watch(child, leftovers().holdChild(pid, lastSignal));
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const send = (signal: NodeJS.Signals): void => void (isRunning() && process.kill(pid, signal));
  const logTail = (lines = 40): string =>
    readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');

  return {
    name,
    pid,
    logFile,
    isRunning,
    logTail,
    signal: send,
    async stop(deadlineMs = 10_000) {
      send('SIGTERM');
      send('SIGCONT'); // a stopped process would not even see the SIGTERM
      const timer = setTimeout(() => send('SIGKILL'), deadlineMs);
      await ended;
      clearTimeout(timer);
    },
    async kill() {
      send('SIGKILL');
      await ended;
    },
    waitUntil(condition, waitOptions) {
      return waitFor(() => {
        if (!isRunning()) {
          throw new GoneError(
            `${name} ended (${child.exitCode ?? child.signalCode}) while we waited for ${waitOptions.what}:\n${logTail()}`,
          );
        }
        return condition();
      }, waitOptions);
    },
  };
}

function watch(child: ChildProcess, release: () => void): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      release();
      resolve();
    };
    child.once('exit', end);
    child.once('error', end);
  });
}
