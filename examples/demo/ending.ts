import { leftovers } from '../../test/support/servers/leftovers.ts';
import { print, yellow } from './screen.ts';

/** A second signal within this time is the first one again: Ctrl-C reaches us from the terminal and, once more, from npm. */
const SAME_SIGNAL_MS = 1_000;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** How the demo comes to its end: by a signal or by itself, and then in order. */
export interface Ending {
  /** Resolves at the first signal, with the exit code it stands for. */
  readonly signalled: Promise<number>;
  /** Adds something to be closed; what was added last is closed first. */
  closeLater(what: string, close: () => Promise<void>): void;
  /** Closes everything, and ends what was still starting. */
  closeAll(): Promise<void>;
}

export function createEnding(): Ending {
  const closers: { what: string; close: () => Promise<void> }[] = [];
  const signalled = firstSignal();
  closers.push({ what: 'what was still starting', close: () => leftovers().endChildren() });
  return {
    signalled,
    closeLater: (what, close) => void closers.push({ what, close }),
    async closeAll() {
      for (let next = closers.pop(); next !== undefined; next = closers.pop()) {
        try {
          await next.close();
        } catch (error) {
          print(yellow(`  closing ${next.what}: ${error instanceof Error ? error.message : String(error)}`));
        }
      }
    },
  };
}

/**
 * The register of leftovers ends everything at once when a signal comes. Here the service is to drain first, on the
 * servers it stands on, so its listeners make room for ours; what it does when the process exits stays.
 */
function firstSignal(): Promise<number> {
  leftovers();
  return new Promise((resolve) => {
    let firstMs: number | undefined;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.removeAllListeners(signal);
      process.on(signal, () => {
        firstMs ??= performance.now();
        if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(EXIT_CODES[signal]);
        resolve(EXIT_CODES[signal]);
      });
    }
  });
}
