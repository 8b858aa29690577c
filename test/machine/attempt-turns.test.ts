import { describe, expect, it } from 'vitest';
import { chunkOf } from '../../src/core/chunk.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Execution } from '../../src/core/ports.ts';
import { createTurns } from '../../src/core/turns.ts';
import { createAttempt } from '../../src/pipeline/attempt.ts';
import type { Effect, Effects } from '../../src/pipeline/effect.ts';
import { createExecutor } from '../../src/pipeline/executor.ts';
import { productionChart, silentLog } from '../../src/testing/paths.ts';
import { aService } from '../support/service.ts';

const chart = productionChart();
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Executions of one message each, whose effects wait where a test says so. */
class World {
  /** Jobs whose data was looked at, and jobs that have closed. */
  readonly begun: string[] = [];
  readonly closed: string[] = [];
  readonly #attempt;

  constructor(slow: Partial<Effects>) {
    const parse: Effect = (runs) =>
      runs.map((run) => {
        const key = run.message.origin.position;
        const version = { kind: 'counter', digits: '1' } as const;
        run.change = { service: aService(), id: key, key, op: 'upsert', version, record: '{}' };
        return 'parsed';
      });
    const all = (event: string) => async (runs: Parameters<Effect>[0]) => runs.map(() => event);
    const executor = createExecutor({
      chart,
      effects: {
        parse,
        fetch: (runs) => runs.map(() => 'fetched'),
        storeLocal: all('storedLocally'),
        storeRedis: all('storedInRedis'),
        ...slow,
      },
      clock: systemClock(),
      log: silentLog,
      maxGroupRuns: 500,
      maxGroupBytes: 1 << 20,
      effectTimeoutMs: 60_000,
      defaultRetry: aService().retry,
    });
    this.#attempt = createAttempt({
      chart,
      executor,
      parse: () => ({ kind: 'ignored' }),
      clock: systemClock(),
      log: silentLog,
      onClosed: () => undefined,
    });
  }

  /** Starts the job, as BullMQ does, whether or not it may begin. */
  start(job: string, isSuspect = false): Promise<unknown> {
    const { begun, closed } = this;
    const origin = { stream: 't-0', epoch: 0, position: job };
    const message = { origin, timestampMs: 0, key: null, value: '{}', headers: [] };
    const execution: Execution = {
      job,
      name: job,
      get data() {
        if (!begun.includes(job)) begun.push(job);
        return chunkOf([message], 'change-message@1', { suspect: isSuspect });
      },
      execution: 1,
      lastClosed: 0,
      begun: 0,
      passed: [],
      lastProgress: '',
      worker: 'w',
      signal: new AbortController().signal,
      progress: () => undefined,
      begin: () => Promise.resolve(),
      pass: () => Promise.resolve(),
      split: () => Promise.resolve(),
      close() {
        closed.push(job);
        return Promise.resolve('closed');
      },
    };
    return this.#attempt(execution);
  }
}

describe('turns of executions', () => {
  it('few are busy at once, the others do not even read their data; each has its turn', async () => {
    const redis = Promise.withResolvers<void>();
    const storeRedis: Effect = async (runs) => {
      await redis.promise;
      return runs.map(() => 'storedInRedis');
    };
    const world = new World({ storeRedis });
    const jobs = ['a', 'b', 'c', 'd', 'e'];
    const done = jobs.map((job) => world.start(job));
    await settled();
    expect(world.begun).toEqual(['a', 'b', 'c']);
    redis.resolve();
    await Promise.all(done);
    expect(world.closed.toSorted()).toEqual(jobs);
  });

  it.each(['parse', 'fetch'])('whoever waits for somebody else (%s) holds nobody up', async (effect) => {
    const source = Promise.withResolvers<void>();
    const event = effect === 'parse' ? 'ignored' : 'fetched';
    const slow: Effect = async (runs) => {
      await source.promise;
      return runs.map(() => event);
    };
    const world = new World({ [effect]: slow });
    const jobs = Array.from({ length: 16 }, (_, index) => `job-${index}`);
    const done = jobs.map((job) => world.start(job));
    await settled();
    expect(world.begun).toEqual(jobs);
    source.resolve();
    await Promise.all(done);
    expect(world.closed.toSorted()).toEqual(jobs.toSorted());
  });

  it('suspects, of which one runs at a time anyway, hold nobody up', async () => {
    const redis = Promise.withResolvers<void>();
    const storeRedis: Effect = async (runs) => {
      if (runs[0]?.message.origin.position.startsWith('suspect') === true) await redis.promise;
      return runs.map(() => 'storedInRedis');
    };
    const world = new World({ storeRedis });
    const suspects = Array.from({ length: 5 }, (_, index) => world.start(`suspect-${index}`, true));
    await world.start('other');
    expect(world.closed).toEqual(['other']);
    redis.resolve();
    await Promise.all(suspects);
    expect(world.closed).toHaveLength(6);
  });

  it('a turn that is given back twice counts once', async () => {
    const take = createTurns(1);
    const giveBack = await take();
    giveBack();
    giveBack();
    await take();
    let isSecond = false;
    void take().then(() => (isSecond = true));
    await settled();
    expect(isSecond).toBe(false);
  });
});
