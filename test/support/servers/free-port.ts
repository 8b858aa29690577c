import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { leftovers, PORT_LOCKS, removeStaleLock } from './leftovers.ts';

/** Below the range the kernel hands to outgoing connections, so that no client of ours takes the port first. */
const FIRST = 20_000;
const LAST = 32_000;

/**
 * A port nobody listens on, reserved for this process until it ends. Asking the kernel for port 0 is not enough: between
 * closing that socket and starting the server another test file can be given the same port.
 */
export async function freePort(): Promise<number> {
  sharedDir(PORT_LOCKS);
  const start = FIRST + Math.floor(Math.random() * (LAST - FIRST));
  for (let step = 0; step < LAST - FIRST; step += 1) {
    const port = FIRST + ((start - FIRST + step) % (LAST - FIRST));
    const release = tryLock(join(PORT_LOCKS, String(port)));
    if (release === undefined) continue;
    if (await canListen(port)) return port;
    release();
  }
  throw new Error(`no free port between ${FIRST} and ${LAST}`);
}

/**
 * Takes a lock file that names its owner. Undefined when somebody else holds it; a dead owner's lock is removed, and
 * taken by whoever asks next.
 */
export function tryLock(path: string): (() => void) | undefined {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
    return leftovers().holdPath(path);
  } catch {
    removeStaleLock(path);
    return undefined;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** A folder in which every user of the machine can keep locks, whatever the first one's umask was. */
function sharedDir(path: string): void {
  if (mkdirSync(path, { recursive: true }) !== undefined) chmodSync(path, 0o1777);
}
