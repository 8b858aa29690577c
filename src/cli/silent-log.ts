import type { Log } from '../core/ports.ts';

/** Drivers talk to a service's log; a command says what matters by itself. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
