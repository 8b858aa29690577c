import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Everything that must be gone when this process is gone: servers, directories, lock files.
 * One register per process, on `globalThis`, because a test runner loads this module several times in one process and
 * several sets of signal handlers would wait for each other.
 */
export interface Leftovers {
  holdChild(pid: number, lastSignal: 'SIGKILL' | 'SIGQUIT'): () => void;
  holdPath(path: string): () => void;
  /** Ends the servers that are still held, and waits until they are gone: a process killed with -9 takes a moment to go. */
  endChildren(): Promise<void>;
}

const GONE_MS = 10_000;
const PREFIX = 'cachewright-test-';
const RUN_DIR = 'CACHEWRIGHT_TEST_DIR';
const REGISTER = Symbol.for('cachewright.test.leftovers');
const holder: typeof globalThis & { [REGISTER]?: Leftovers } = globalThis;

export function leftovers(): Leftovers {
  holder[REGISTER] ??= createRegister();
  return holder[REGISTER];
}

/** A directory of this process only, removed when the process ends, however it ends (after `kill -9`: by the next run). */
export function privateDir(name: string): string {
  const dir = mkdtempSync(join(process.env[RUN_DIR] ?? tmpdir(), `${PREFIX}${process.pid}-${name}-`));
  leftovers().holdPath(dir);
  return dir;
}

/**
 * Makes the private directories of this process and of those it starts from now on live in one directory, which goes
 * with this process. A test runner kills its workers with -9 when it is interrupted, so they cannot tidy up.
 */
export function shareRunDir(): void {
  const dir = privateDir('run');
  chmodSync(dir, 0o711); // Postgres runs as another user and must get through to its own directory
  process.env[RUN_DIR] = dir;
}

/** Where lock files of ports in use lie, shared by all processes of the machine. */
export const PORT_LOCKS = join(tmpdir(), 'cachewright-test-ports');

/** Removes what earlier runs left behind because they were killed with -9. */
export function sweepLeftovers(): void {
  for (const entry of readdirSync(tmpdir())) {
    const owner = entry.startsWith(PREFIX) ? Number.parseInt(entry.slice(PREFIX.length), 10) : Number.NaN;
    if (Number.isInteger(owner) && !isAlive(owner)) remove(join(tmpdir(), entry));
  }
  if (!existsSync(PORT_LOCKS)) return;
  for (const port of readdirSync(PORT_LOCKS)) removeStaleLock(join(PORT_LOCKS, port));
}

/** Removes a lock file whose owner is dead. */
export function removeStaleLock(path: string): void {
  try {
    const owner = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (Number.isInteger(owner) && !isAlive(owner)) rmSync(path, { force: true });
  } catch {
    // gone in the meantime
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function createRegister(): Leftovers {
  const children = new Map<number, NodeJS.Signals>();
  const paths = new Set<string>();

  const signalChildren = (): void => {
    for (const [pid, signal] of children) {
      try {
        process.kill(pid, 'SIGCONT');
        process.kill(pid, signal);
      } catch {
        // already gone
      }
    }
  };
  const cleanUp = (): void => {
    signalChildren();
    children.clear();
    for (const path of paths) remove(path);
    paths.clear();
  };

  process.on('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      cleanUp();
      // Listening has switched the signal's default off. If nobody else decides what happens next, die of it as expected.
      if (process.listenerCount(signal) > 1) return;
      process.removeListener(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }

  return {
    holdChild(pid, lastSignal) {
      children.set(pid, lastSignal);
      return () => void children.delete(pid);
    },
    async endChildren() {
      signalChildren();
      for (const sinceMs = performance.now(); children.size > 0; await delay(10))
        if (performance.now() - sinceMs > GONE_MS)
          throw new Error(`still there: ${[...children.keys()].join(', ')}`);
    },
    holdPath(path) {
      paths.add(path);
      return () => {
        paths.delete(path);
        remove(path);
      };
    },
  };
}

function remove(path: string): void {
  try {
    // Servers that are being killed may still add a file: hence the retries.
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  } catch {
    // The next run sweeps it.
  }
}
