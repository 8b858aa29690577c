import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/core/ports.ts';
import { createBackPressure, type Gauge, nextReason, queueGauges } from '../../src/ingest/back-pressure.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { rememberingLog } from '../support/ingest.ts';

const jobs = { name: 'queue jobs', high: 100, low: 50 };
const bytes = { name: 'queue bytes', high: 1_000, low: 500 };

describe('back-pressure', () => {
  it('begins above a high-water mark and names the gauge', () => {
    expect(nextReason('', [jobs, bytes], [100, 1_000])).toBe('');
    expect(nextReason('', [jobs, bytes], [101, 1_000])).toBe('queue jobs 101 > 100');
    expect(nextReason('', [jobs, bytes], [101, 1_001])).toBe('queue jobs 101 > 100, queue bytes 1001 > 1000');
  });

  it('lasts until every gauge is at or below its low-water mark', () => {
    expect(nextReason('queue jobs 101 > 100', [jobs, bytes], [60, 100])).toBe('queue jobs 60 > 50');
    expect(nextReason('queue jobs 101 > 100', [jobs, bytes], [50, 600])).toBe('queue bytes 600 > 500');
    expect(nextReason('queue jobs 101 > 100', [jobs, bytes], [50, 500])).toBe('');
  });

  it('does not begin between the two marks', () => {
    expect(nextReason('', [jobs], [99])).toBe('');
  });

  const aClock = () => {
    let nowMs = 0;
    const clock: Clock = { now: () => nowMs, sleep: () => Promise.resolve(), random: () => 0.5 };
    return { clock, pass: (ms: number) => void (nowMs += ms) };
  };

  it('looks at most once per interval, however many partitions ask', async () => {
    const { clock, pass } = aClock();
    let looks = 0;
    let level = 0;
    const gauge: Gauge = { ...jobs, read: () => Promise.resolve(((looks += 1), level)) };
    const pressure = createBackPressure({ gauges: [gauge], everyMs: 250, clock, log: silentLog });
    await Promise.all([pressure.reason(), pressure.reason(), pressure.reason()]);
    level = 500;
    pass(249);
    expect(await pressure.reason()).toBe('');
    expect(looks).toBe(1);
    pass(1);
    expect(await pressure.reason()).toBe('queue jobs 500 > 100');
    expect(looks).toBe(2);
  });

  it('keeps what it knew when the queue cannot be measured', async () => {
    const { clock, pass } = aClock();
    let answer: () => Promise<number> = () => Promise.resolve(500);
    const pressure = createBackPressure({
      gauges: [{ ...jobs, read: () => answer() }],
      clock,
      log: silentLog,
    });
    expect(await pressure.reason()).toBe('queue jobs 500 > 100');
    answer = () => Promise.reject(new Error('Redis is away'));
    pass(1_000);
    expect(await pressure.reason()).toBe('queue jobs 500 > 100');
    answer = () => Promise.resolve(0);
    pass(1_000);
    expect(await pressure.reason()).toBe('');
  });

  it('tells of a gauge that nears its bound, once until it has come down', async () => {
    const log = rememberingLog();
    let level = 0;
    const gauge: Gauge = { ...jobs, read: () => Promise.resolve(level) };
    const clock = { now: () => 0, sleep: async () => undefined, random: () => 0 };
    const pressure = createBackPressure({ gauges: [gauge], everyMs: 0, clock, log });
    const told = async (next: number): Promise<number> => {
      level = next;
      expect(await pressure.reason()).toBe('');
      return log.lines.filter(({ level: loud }) => loud === 'warn').length;
    };
    expect([await told(80), await told(81), await told(99), await told(60), await told(85)]).toEqual([
      0, 1, 1, 1, 1,
    ]);
    expect([await told(50), await told(85)]).toEqual([1, 2]);
  });

  it('asks the queue once for its two gauges', async () => {
    let asked = 0;
    const depth = () => {
      asked += 1;
      return Promise.resolve({ jobs: 3, bytes: 70 });
    };
    const gauges = queueGauges({ depth }, { highJobs: 100, lowJobs: 50, highBytes: 1_000, lowBytes: 500 });
    expect(await Promise.all(gauges.map((gauge) => gauge.read()))).toEqual([3, 70]);
    expect(asked).toBe(1);
  });
});
