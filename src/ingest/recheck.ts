/**
 * Compares mark and commit of partitions that have no batch at hand. Without it an idle partition whose mark was rolled
 * back would keep its lost messages until somebody sends the next one.
 */
import { asError } from '../core/errors.ts';
import type { ChangeSource, Clock, Log } from '../core/ports.ts';
import { type Decision, LOUD } from './mark.ts';
import type { TakenPartition } from './taken-partition.ts';

const RETRY_MS = 1_000;

export interface RecheckOptions {
  readonly source: Pick<ChangeSource, 'assignments' | 'partition'>;
  readonly taken: (topic: string, partition: number) => TakenPartition;
  readonly onTaken: (state: TakenPartition, decision: Decision) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the retries. */
  readonly signal: AbortSignal;
}

/**
 * Looks at every assigned partition that was not compared in its generation, until that worked for each.
 *
 * @param isForced looks at the others too
 */
export async function recheckAll(options: RecheckOptions, reason: string, isForced: boolean): Promise<void> {
  const { source, clock, log, signal } = options;
  const assigned = () =>
    source
      .assignments()
      .flatMap(({ topic, partitions }) => partitions.map((partition) => [topic, partition] as const));
  if (isForced) for (const [topic, partition] of assigned()) options.taken(topic, partition).release();
  log.debug({ reason }, 'comparing marks and commits of all assigned partitions');
  while (!signal.aborted) {
    const ends = await Promise.allSettled(
      assigned().map(([topic, partition]) => recheckOne(options, topic, partition)),
    );
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed === undefined) return;
    log.warn(
      { reason, err: asError(failed.reason).message },
      'marks and commits could not be compared; trying again',
    );
    // A store that has just come back often goes away again.
    await clock.sleep(RETRY_MS, signal).catch(() => undefined);
  }
}

async function recheckOne(options: RecheckOptions, topic: string, partition: number): Promise<void> {
  const state = options.taken(topic, partition);
  const leave = await state.enter();
  try {
    const look = options.source.partition(topic, partition);
    if (state.isTaken(look.generation)) return;
    const decision = await state.take(look, (ms) => options.clock.sleep(ms, options.signal));
    options.onTaken(state, decision);
    if (LOUD.has(decision.kind)) look.seek(decision.from);
  } finally {
    leave();
  }
}
