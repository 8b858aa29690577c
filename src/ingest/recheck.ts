/**
 * Compares mark and commit of partitions that have no batch at hand. Without it an idle partition whose mark was rolled
 * back would keep its lost messages until somebody sends the next one.
 */
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError } from '../core/errors.ts';
import type { ChangeSource, Clock, Log } from '../core/ports.ts';
import { type Decision, LOUD } from './mark.ts';
import type { TakenPartition } from './taken-partition.ts';

/** A store that has just come back often goes away again, and a topic that is gone may stay so. */
const RETRY: BackoffRule = { initialMs: 500, factor: 2, maxMs: 10_000, jitter: 0.2 };

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
 * Makes a function that looks at every assigned partition which was not compared in its generation, until that worked
 * for each. A call during a pass makes that pass go round once more.
 *
 * `isForced`: looks at those that were compared, too.
 */
export function createRecheck(options: RecheckOptions): (reason: string, isForced: boolean) => Promise<void> {
  let pass: Promise<void> | undefined;
  let isWanted = false;
  const run = async (): Promise<void> => {
    while (isWanted) {
      isWanted = false;
      await recheckAll(options);
    }
    pass = undefined;
  };
  return (reason, isForced) => {
    options.log.debug({ reason }, 'comparing marks and commits of all assigned partitions');
    if (isForced)
      for (const [topic, partition] of assigned(options)) options.taken(topic, partition).release();
    isWanted = true;
    pass ??= run();
    return pass;
  };
}

async function recheckAll(options: RecheckOptions): Promise<void> {
  const { clock, log, signal } = options;
  for (let failures = 1; !signal.aborted; failures += 1) {
    const ends = await Promise.allSettled(
      assigned(options).map(([topic, partition]) => recheckOne(options, topic, partition)),
    );
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed === undefined) return;
    log.warn(
      { failures, err: asError(failed.reason).message },
      'marks and commits could not be compared; trying again',
    );
    await clock.sleep(backoffMs(RETRY, failures, clock.random()), signal).catch(() => undefined);
  }
}

function assigned({ source }: RecheckOptions): (readonly [topic: string, partition: number])[] {
  return source
    .assignments()
    .flatMap(({ topic, partitions }) => partitions.map((partition) => [topic, partition] as const));
}

async function recheckOne(options: RecheckOptions, topic: string, partition: number): Promise<void> {
  const state = options.taken(topic, partition);
  const leave = await state.enter();
  try {
    const look = options.source.partition(topic, partition);
    if (state.isTaken(look.generation)) return;
    const reached = state.next;
    const decision = await state.take(look, (ms) => options.clock.sleep(ms, options.signal));
    options.onTaken(state, decision);
    // Or Redis lost what Kafka's commit had not reached yet: nothing looks wrong, but the source stands behind it.
    if (LOUD.has(decision.kind) || state.next < reached) look.seek(decision.from);
  } finally {
    leave();
  }
}
