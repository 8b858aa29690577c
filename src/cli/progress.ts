import { formatCount } from '../config/durations.ts';

/** Redrawn at most so often, milliseconds. */
const EVERY_MS = 100;
const WIDTH = 24;

/** A line on stderr that is drawn over and over; nothing where stderr is no terminal. */
export interface Progress {
  /** @param share of the whole, 0 – 1 */
  show(share: number, count: number, note?: string): void;
  /** Takes the line away. */
  clear(): void;
}

export function createProgress(isQuiet: boolean): Progress {
  const isShown = !isQuiet && process.stderr.isTTY === true;
  let drawnMs = 0;
  return {
    show(share, count, note = '') {
      const now = performance.now();
      if (!isShown || now - drawnMs < EVERY_MS) return;
      drawnMs = now;
      const full = Math.round(Math.min(1, share) * WIDTH);
      const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full);
      process.stderr.write(
        `\r\u001b[K${bar} ${Math.floor(Math.min(1, share) * 100)} %  ${formatCount(count)} messages  ${note}`,
      );
    },
    clear() {
      if (isShown) process.stderr.write('\r\u001b[K');
    },
  };
}
