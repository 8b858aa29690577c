/**
 * Watches that partitions move. Health checks of a consumer say that it is a member; this says that it reads. Commits
 * alone mislead: batches of only control records are resolved, not committed.
 */
import { asError } from '../core/errors.ts';
import type { ChangeSource, Clock, Log, SourcePosition } from '../core/ports.ts';

export interface StallWatchOptions {
  readonly source: Pick<ChangeSource, 'positions' | 'partition' | 'restart'>;
  /** How often to look, milliseconds. @defaultValue 10_000 */
  readonly everyMs?: number;
  /**
   * How long a partition with unread messages may stand still before the consumer is restarted, milliseconds. A restart
   * rebalances the whole group, so each one in a row doubles it for that partition, up to 15 minutes. @defaultValue 60_000
   */
  readonly patienceMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

interface Watched {
  readonly resolved: string;
  readonly sinceMs: number;
  readonly patienceMs: number;
}

export interface StallWatch {
  /** One look at all partitions; restarts the source when one stands still. Returns why it did, or ''. */
  look(): Promise<string>;
  /** Looks until the signal fires. */
  run(signal: AbortSignal): Promise<void>;
}

const MAX_PATIENCE_MS = 15 * 60_000;

export function createStallWatch(options: StallWatchOptions): StallWatch {
  const { source, clock, log, everyMs = 10_000, patienceMs = 60_000 } = options;
  const watched = new Map<string, Watched>();

  const look = async (): Promise<string> => {
    for (const position of source.positions()) {
      const name = `${position.topic}/${position.partition}`;
      const before = watched.get(name);
      const nowMs = clock.now();
      if (before === undefined || before.resolved !== position.resolved) {
        watched.set(name, { resolved: position.resolved, sinceMs: nowMs, patienceMs });
      } else if (position.isPaused || !(await hasUnread(source, position))) {
        watched.set(name, { ...before, sinceMs: nowMs });
      } else if (nowMs - before.sinceMs >= before.patienceMs) {
        watched.set(name, {
          ...before,
          sinceMs: nowMs,
          patienceMs: Math.min(MAX_PATIENCE_MS, before.patienceMs * 2),
        });
        return restart(name, nowMs - before.sinceMs);
      }
    }
    return '';
  };
  const restart = async (name: string, stoodMs: number): Promise<string> => {
    // Whoever else stood still begins anew with the consumer: else the next look would restart that one as well.
    const nowMs = clock.now();
    for (const [other, state] of watched) watched.set(other, { ...state, sinceMs: nowMs });
    const reason = `${name} has unread messages and has not moved for ${Math.round(stoodMs / 1_000)} s`;
    log.error({ reason }, 'restarting the consumer');
    await source.restart(reason);
    return reason;
  };

  return {
    look,
    async run(signal) {
      while (!signal.aborted) {
        try {
          await look();
        } catch (error) {
          log.debug({ err: asError(error).message }, 'partitions could not be looked at');
        }
        await clock.sleep(everyMs, signal).catch(() => undefined);
      }
    },
  };
}

async function hasUnread(
  source: StallWatchOptions['source'],
  { topic, partition, resolved }: SourcePosition,
): Promise<boolean> {
  const look = source.partition(topic, partition);
  const { low, high } = await look.bounds();
  const next = resolved === '' ? ((await look.committed()) ?? low) : resolved;
  return BigInt(high) > BigInt(next);
}
