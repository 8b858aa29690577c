/** Numbers of several runs, and what may be said about them. */

/** What a scenario measures, and in which direction it is good. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Digits after the point. @defaultValue 0 */
  readonly digits?: number;
}

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** One trial of one subject. */
export interface Sample {
  /** Metric name → value. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Part → microseconds of CPU a message. */
  readonly cpu?: Readonly<Record<string, number>>;
  readonly notes?: readonly string[];
}

/** A bar of the project: `subject`'s metric itself, or its ratio to the metric of `over`. */
export interface Bar {
  readonly subject: string;
  readonly metric: string;
  readonly over?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { min: at(0), median, max: at(sorted.length - 1) };
}

/** The `p`-th percentile (0 – 100), nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * Ratios of runs that stood side by side, round by round: what made the machine slow in a round made both slow.
 */
export function ratiosOf(of: readonly number[], over: readonly number[]): number[] {
  return of.slice(0, over.length).map((value, round) => value / (over[round] ?? Number.NaN));
}

export function meets(bar: Bar, value: number): boolean {
  return (
    value >= (bar.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (bar.atMost ?? Number.POSITIVE_INFINITY)
  );
}
