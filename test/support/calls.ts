import type { RecordRequest } from '../../src/core/ports.ts';

/** When a call was at its source, by one clock. */
export interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Most of the calls that were under way at one moment. One that ends as another begins is over. */
export function mostAtOnce(spans: readonly Span[]): number {
  const starts = spans.map(({ fromMs }) => fromMs);
  return Math.max(
    0,
    ...starts.map((at) => spans.filter(({ fromMs, untilMs }) => fromMs <= at && at < untilMs).length),
  );
}

/** Most of the moments that lie within any one second. */
export function mostPerSecond(momentsMs: readonly number[]): number {
  return Math.max(
    0,
    ...momentsMs.map((from) => momentsMs.filter((at) => from <= at && at < from + 1_000).length),
  );
}

/** Requests for the ids `0`, `1`, …, or those of a function. */
export function requestsFor(count: number, idOf: (index: number) => string = String): RecordRequest[] {
  return Array.from({ length: count }, (_, index) => ({ id: idOf(index) }));
}
