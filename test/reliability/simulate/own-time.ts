import { setImmediate as afterMicrotasks } from 'node:timers/promises';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';

/**
 * Puts the timers of this thread on the world's clock for as long as a run lasts: the pipeline bounds its effects with
 * `setTimeout`, and a deadline in real time would make a run depend on how busy the machine is.
 *
 * @returns how to give real time back
 */
export function ownTimers(clock: VirtualClock): () => void {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
  const stops = new Map<object, AbortController>();
  const set = (act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): object => {
    const timer = { unref: () => timer, ref: () => timer, hasRef: () => true };
    const stop = new AbortController();
    stops.set(timer, stop);
    void clock.sleep(Math.max(0.001, ms), stop.signal).then(
      () => stops.delete(timer) && act(...args),
      () => undefined,
    );
    return timer;
  };
  const clear = (timer: unknown): void => {
    const stop = typeof timer === 'object' && timer !== null ? stops.get(timer) : undefined;
    if (stop === undefined) return;
    stops.delete(timer as object);
    stop.abort();
  };
  globalThis.setTimeout = set as unknown as typeof setTimeout;
  globalThis.clearTimeout = clear as typeof clearTimeout;
  return () => {
    globalThis.setTimeout = realSet;
    globalThis.clearTimeout = realClear;
  };
}

/** Moves the clock from sleeper to sleeper until `isOver`; everything that a step sets off runs before the next one. */
export async function play(clock: VirtualClock, isOver: () => boolean, mostSteps: number): Promise<number> {
  let steps = 0;
  await afterMicrotasks();
  while (!isOver() && steps < mostSteps) {
    const next = clock.nextMs();
    if (next === undefined) return steps;
    clock.advanceTo(next);
    steps += 1;
    await afterMicrotasks();
  }
  return steps;
}
