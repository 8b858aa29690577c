import { reasonOf } from '../core/errors.ts';
import type { ChunkQueue, Clock, Log } from '../core/ports.ts';

/** Something that fills up. Above `high` ingest pauses, at or below `low` it goes on. */
export interface Gauge {
  /** As it reads in "paused: …", e.g. `queue jobs`. */
  readonly name: string;
  readonly high: number;
  readonly low: number;
  read(): Promise<number>;
}

/** A queue's two gauges; both come from one look. */
export interface QueueLimits {
  readonly highJobs: number;
  readonly lowJobs: number;
  readonly highBytes: number;
  readonly lowBytes: number;
}

export function queueGauges(queue: Pick<ChunkQueue, 'depth'>, limits: QueueLimits): Gauge[] {
  let look: Promise<{ jobs: number; bytes: number }> | undefined;
  const depth = (): Promise<{ jobs: number; bytes: number }> => {
    look ??= queue.depth().finally(() => {
      look = undefined;
    });
    return look;
  };
  return [
    {
      name: 'queue jobs',
      high: limits.highJobs,
      low: limits.lowJobs,
      read: async () => (await depth()).jobs,
    },
    {
      name: 'queue bytes',
      high: limits.highBytes,
      low: limits.lowBytes,
      read: async () => (await depth()).bytes,
    },
  ];
}

/** A gauge above this share of its bound is told before anything pauses. */
const NEAR = 0.8;

/** Why ingest pauses; '' when it does not. */
export interface BackPressure {
  /** At most one look at the gauges per `everyMs`; never rejects. */
  reason(): Promise<string>;
}

export interface BackPressureOptions {
  readonly gauges: readonly Gauge[];
  /** How long one look serves, milliseconds. Longer is cheaper and lets the queue overshoot by what arrives meanwhile. @defaultValue 250 */
  readonly everyMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Pauses above any gauge's high-water mark, and goes on when all are at or below their low-water marks. */
export function createBackPressure({ gauges, everyMs = 250, clock, log }: BackPressureOptions): BackPressure {
  let current = '';
  let lookedMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<string> | undefined;
  const near = new Set<string>();

  /** Says once that a gauge nears its bound, and again only after it was at or below its low-water mark. */
  const tellNear = (levels: readonly number[]): void => {
    for (const [index, { name, high, low }] of gauges.entries()) {
      const level = levels[index] ?? 0;
      if (level <= low) near.delete(name);
      if (level <= high * NEAR || near.has(name)) continue;
      near.add(name);
      log.warn({ gauge: name, level, high }, `${name}: ${level} of ${high}; ingest pauses above that`);
    }
  };

  const look = async (): Promise<string> => {
    try {
      const levels = await Promise.all(gauges.map((gauge) => gauge.read()));
      current = nextReason(current, gauges, levels);
      tellNear(levels);
    } catch (error) {
      // The enqueue will meet the same fault and knows how to wait; until then what was known holds.
      log.debug({ err: reasonOf(error) }, 'the queue could not be measured');
    }
    lookedMs = clock.now();
    looking = undefined;
    return current;
  };

  return {
    reason() {
      if (looking === undefined && clock.now() - lookedMs < everyMs) return Promise.resolve(current);
      looking ??= look();
      return looking;
    },
  };
}

/**
 * The rule itself: a pause, once begun, lasts until every gauge is at or below its low-water mark.
 *
 * @param current why it pauses now; '' when it does not
 * @param levels what the gauges read, in their order
 */
export function nextReason(
  current: string,
  gauges: readonly Omit<Gauge, 'read'>[],
  levels: readonly number[],
): string {
  const isPaused = current !== '';
  const over = gauges.flatMap(({ name, high, low }, index) => {
    const level = levels[index] ?? 0;
    const bound = isPaused ? low : high;
    return level > bound ? [`${name} ${level} > ${bound}`] : [];
  });
  return over.join(', ');
}
