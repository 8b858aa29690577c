import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Everything that must be gone when this process is gone: servers, directories, lock files.
 * One register per process, on `globalThis`, because a test runner loads this module several times in one process and
 * several sets of signal handlers would wait for each other.
 */
export interface Leftovers {
  holdChild(pid: number, lastSignal: 'SIGKILL' | 'SIGQUIT'): () => void;
  holdPath(path: string): () => void;
}

const PREFIX = 'cachewright-test-';
const REGISTER = Symbol.for('cachewright.test.leftovers');
const holder: typeof globalThis & { [REGISTER]?: Leftovers } = globalThis;

export function leftovers(): Leftovers {
  holder[REGISTER] ??= createRegister();
  return holder[REGISTER];
}

/** A directory of this process only, removed when the process ends, however it ends (after `kill -9`: by the next run). */
export function privateDir(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-${name}-`));
  chmodSync(dir, 0o700);
  leftovers().holdPath(dir);
  return dir;
}

/** Removes what earlier runs left behind because they were killed with -9. */
export function sweepLeftovers(): void {
  for (const entry of readdirSync(tmpdir())) {
    const owner = entry.startsWith(PREFIX) ? Number.parseInt(entry.slice(PREFIX.length), 10) : Number.NaN;
    if (Number.isInteger(owner) && !isAlive(owner)) remove(join(tmpdir(), entry));
  }
}

export function isAlive(pid: number): boolean {
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

  const cleanUp = (): void => {
    for (const [pid, signal] of children) {
      try {
        process.kill(pid, 'SIGCONT');
        process.kill(pid, signal);
      } catch {
        // already gone
      }
    }
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
