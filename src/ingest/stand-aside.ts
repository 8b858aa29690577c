/** Waiting outside of a batch: what concerns one partition alone must not hold up those that were fetched with it. */
import type { Clock, SourceBatch } from '../core/ports.ts';
import type { WaitOptions } from './keep-alive.ts';

/** How often it is looked whether the partition may go on, milliseconds. */
const LOOK_MS = 500;

/**
 * Pauses the partition until `isOver` says so, and returns at once: the batch comes once more. Ends too when the partition goes
 * to another, or the source closes.
 *
 * @param isOver a rejection says nothing: it is asked again
 */
export function standAside(
  batch: Pick<SourceBatch, 'pause' | 'signal'>,
  reason: string,
  isOver: () => Promise<boolean>,
  { clock, onWaiting, onResumed }: Omit<WaitOptions, 'log'> & { readonly clock: Clock },
): void {
  const sinceMs = clock.now();
  const resume = batch.pause();
  onWaiting(reason);
  const wait = async (): Promise<void> => {
    do await clock.sleep(LOOK_MS, batch.signal);
    while (!(await isOver().catch(() => false)));
    onResumed(clock.now() - sinceMs);
  };
  // Only the signal ends the wait by a rejection.
  void wait()
    .catch(() => undefined)
    .finally(resume);
}
