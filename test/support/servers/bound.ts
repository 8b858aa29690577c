import { existsSync } from 'node:fs';

export interface Binding {
  /** Run as this system user; only meaningful as root (Postgres refuses to run as root). */
  readonly user?: string | undefined;
  /** What the kernel sends when we are gone. Postgres leaks shared memory under SIGKILL and wants SIGQUIT. */
  readonly lastSignal?: 'SIGKILL' | 'SIGQUIT' | undefined;
}

/**
 * Wraps a command so that the kernel itself ends it with us, even when we are killed with -9 and no handler runs.
 * `setpriv` (util-linux, on every Debian) execs the command, so the process id stays the server's.
 */
export function bound(command: string, args: readonly string[], binding: Binding = {}): [string, string[]] {
  const { user, lastSignal = 'SIGKILL' } = binding;
  if (process.platform !== 'linux' || !existsSync(SETPRIV)) {
    if (user !== undefined) throw new Error(`running ${command} as user ${user} needs ${SETPRIV}`);
    return [command, [...args]];
  }
  const identity = user === undefined ? [] : ['--reuid', user, '--regid', user, '--init-groups'];
  return [SETPRIV, [...identity, '--pdeathsig', lastSignal.slice('SIG'.length), '--', command, ...args]];
}

const SETPRIV = '/usr/bin/setpriv';
