import { describe, expect, it } from 'vitest';
import { codeOf, guarded, outage, retryAfterMs, until } from '../support/guarded-source.ts';
import { fail } from '../../src/core/errors.ts';

describe('the breaker of a guarded source', () => {
  it('opens after failures in a row, then asks nothing, and says when to come back', async () => {
    const { memory, ask } = guarded({ breaker: { failures: 3, halfOpenAfterMs: 5_000 } });
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) expect(codeOf(await ask())).toBe('E_FETCH_FAILED');
    const refused = await ask();
    expect(codeOf(refused)).toBe('E_SOURCE_OPEN');
    expect(retryAfterMs(refused)).toBeGreaterThan(4_000);
    expect(retryAfterMs(refused)).toBeLessThanOrEqual(5_000);
    expect(memory.calls).toHaveLength(3);
  });

  it('closes again when one trial call is answered, and lets only that one through', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    memory.failWith(undefined);
    memory.setLatency(30);
    await until(async () => {
      const outcomes = await Promise.all([ask(), ask(), ask()]);
      return outcomes.some(({ kind }) => kind === 'record');
    });
    expect(memory.calls).toHaveLength(4);
    expect(codeOf(await ask())).toBe('record');
  });

  it('opens again when the trial fails', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    let trial = await ask();
    await until(async () => {
      trial = await ask();
      return memory.calls.length === 4;
    });
    expect(codeOf(trial)).toBe('E_SOURCE_OPEN');
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
    expect(memory.calls).toHaveLength(4);
  });

  it('charges no run for a trial that fails: its runs had waited, and wait on', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    let trial = await ask();
    await until(async () => {
      trial = await ask();
      return memory.calls.length === 4;
    });
    expect(trial.kind === 'failed' && [trial.error.outcome, trial.error.cause]).toEqual(['wait', outage]);
    expect(retryAfterMs(trial)).toBe(100);
  });

  it('opens again when the trial is called off, since nothing is known then', async () => {
    const { memory, ask } = guarded();
    memory.failWith(outage);
    for (let i = 0; i < 3; i += 1) await ask();
    memory.setLatency(10_000);
    const stop = new AbortController();
    await until(async () => {
      const trial = ask('1', stop.signal);
      await new Promise(setImmediate);
      if (memory.calls.length === 4) stop.abort(new Error('shutting down'));
      return codeOf(await trial) === 'E_ABORTED';
    });
    memory.setLatency(0);
    memory.failWith(undefined);
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
    await until(async () => codeOf(await ask()) === 'record');
  });

  it('opens on timeouts', async () => {
    const { memory, ask } = guarded({ timeoutMs: 10 });
    memory.setLatency(10_000);
    for (let i = 0; i < 3; i += 1) expect(codeOf(await ask())).toBe('E_FETCH_TIMEOUT');
    expect(codeOf(await ask())).toBe('E_SOURCE_OPEN');
  });

  it('stays closed when answers are of no use, or records are not there', async () => {
    const { memory, ask } = guarded();
    for (const code of ['E_FETCH_NOT_JSON', 'E_FETCH_TOO_LARGE', 'E_FETCH_REDIRECTED'] as const) {
      memory.failWith(fail(code, { service: 'shops' }));
      for (let i = 0; i < 5; i += 1) expect(codeOf(await ask())).toBe(code);
    }
    memory.failWith(undefined);
    for (let i = 0; i < 5; i += 1) expect(codeOf(await ask('gone'))).toBe('absent');
  });

  it('counts only failures in a row', async () => {
    const { memory, ask } = guarded();
    for (let i = 0; i < 4; i += 1) {
      memory.failWith(outage);
      await ask();
      await ask();
      memory.failWith(undefined);
      expect(codeOf(await ask())).toBe('record');
    }
  });

  it('of one source does not keep another from being asked', async () => {
    const down = guarded();
    const up = guarded();
    down.memory.failWith(outage);
    for (let i = 0; i < 4; i += 1) await down.ask();
    expect(codeOf(await down.ask())).toBe('E_SOURCE_OPEN');
    expect(codeOf(await up.ask())).toBe('record');
  });
});
