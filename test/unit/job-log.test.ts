import { describe, expect, it } from 'vitest';
import { createJobLog, type JobLine } from '../../src/app/job-log.ts';
import type { Log } from '../../src/core/ports.ts';
import { createVirtualClock } from '../../src/testing/virtual-clock.ts';

const line = (name: string, states: Record<string, number>): JobLine => ({
  name,
  execution: 1,
  messages: Object.values(states).reduce((sum, count) => sum + count, 0),
  states,
  durationMs: 2,
});

function jobLog() {
  const told: string[] = [];
  const ignore = (): void => undefined;
  const log: Log = {
    debug: ignore,
    info: (fields, text) => void told.push(`${text} ${JSON.stringify(fields)}`),
    warn: ignore,
    error: ignore,
  };
  const clock = createVirtualClock(1_000_000);
  return { told, clock, ...createJobLog({ log, clock }) };
}

describe('the log of jobs', () => {
  it('has a line for each of a few', () => {
    const { told, tell } = jobLog();
    tell(line('cache-message/0 17', { redisCached: 1 }));
    expect(told).toEqual(['cache-message/0 17 {"execution":1,"messages":1,"redisCached":1,"ms":2}']);
  });

  it('sums up those that are more than five in a second, when it is over', async () => {
    const { told, tell, clock } = jobLog();
    for (let job = 0; job < 8; job += 1) tell(line(`job ${job}`, { redisCached: 2 }));
    tell(line('job 8', { redisCached: 1, rejected: 1 }));
    expect(told).toHaveLength(5);
    clock.advanceTo(clock.now() + 1_000);
    await new Promise(setImmediate);
    expect(told.slice(5)).toEqual(['more jobs {"jobs":4,"messages":8,"redisCached":7,"rejected":1}']);
    tell(line('job 9', { redisCached: 1 }));
    expect(told).toHaveLength(7);
    expect(told.at(-1)).toContain('job 9');
  });

  it('loses none when it is closed', () => {
    const { told, tell, close } = jobLog();
    for (let job = 0; job < 6; job += 1) tell(line(`job ${job}`, { redisCached: 1 }));
    close();
    expect(told.at(-1)).toBe('more jobs {"jobs":1,"messages":1,"redisCached":1}');
  });
});
