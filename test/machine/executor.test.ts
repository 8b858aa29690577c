import { describe, expect, it, vi } from 'vitest';
import type { Message, Operation } from '../../src/core/change.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';
import { Run } from '../../src/core/run.ts';
import type { Service, Version } from '../../src/core/service.ts';
import { Trail } from '../../src/core/trail.ts';
import type { Effect, Effects } from '../../src/pipeline/effect.ts';
import { createExecutor } from '../../src/pipeline/executor.ts';
import { productionChart, silentLog } from '../../src/testing/paths.ts';
import { aService } from '../support/service.ts';

const chart = productionChart();
const messageAt = (position: number): Message => ({
  origin: { stream: 't-0', epoch: 0, position: String(position) },
  timestampMs: 0,
  key: null,
  value: `{"n":${position}}`,
  headers: [],
});

interface Plan {
  readonly key: string;
  readonly version?: string;
  readonly op?: Operation;
  readonly service?: Service;
}

/** Runs whose parse gives them the planned change. */
function runsFor(plans: readonly Plan[]): { runs: Run[]; parse: Effect } {
  const runs = plans.map((_, index) => new Run(messageAt(index), index, 0, 'received', Trail.root()));
  const parse: Effect = (group) =>
    group.map((run) => {
      const plan = plans[run.index];
      if (plan === undefined) throw new Error('no plan');
      const version: Version | undefined =
        plan.version === undefined ? undefined : { kind: 'counter', digits: plan.version };
      run.change = {
        service: plan.service ?? aService(),
        id: plan.key,
        key: plan.key,
        op: plan.op ?? 'upsert',
        version,
        record: '{}',
      };
      return 'parsed';
    });
  return { runs, parse };
}

const happy: Effects = {
  parse: (runs) => runs.map(() => 'parsed'),
  fetch: (runs) => runs.map((run) => (run.change?.op === 'delete' ? 'deleted' : 'fetched')),
  storeLocal: async (runs) => runs.map(() => 'storedLocally'),
  storeRedis: async (runs) => runs.map(() => 'storedInRedis'),
  evict: async (runs) => runs.map(() => 'evicted'),
};

function execute(
  runs: Run[],
  effects: Effects,
  more: { effectTimeoutMs?: number; signal?: AbortSignal } = {},
) {
  const executor = createExecutor({
    chart,
    effects,
    clock: systemClock(),
    log: silentLog,
    maxGroupRuns: 500,
    maxGroupBytes: 1 << 20,
    effectTimeoutMs: more.effectTimeoutMs ?? 5_000,
    defaultRetry: aService().retry,
  });
  return executor.execute(runs, more.signal ?? new AbortController().signal);
}

describe('the executor', () => {
  it('calls each effect once for a whole group', async () => {
    const { runs, parse } = runsFor(Array.from({ length: 300 }, (_, index) => ({ key: `k${index}` })));
    const storeRedis = vi.fn(happy['storeRedis']);
    await execute(runs, { ...happy, parse, storeRedis });
    expect(runs.map((run) => run.state)).toEqual(runs.map(() => 'redisCached'));
    expect(storeRedis).toHaveBeenCalledTimes(1);
    expect(storeRedis.mock.calls[0]?.[0]).toHaveLength(300);
  });

  it('cuts groups by count', async () => {
    const { runs, parse } = runsFor(Array.from({ length: 1_200 }, (_, index) => ({ key: `k${index}` })));
    const sizes: number[] = [];
    await execute(runs, {
      ...happy,
      parse: (group, signal) => (sizes.push(group.length), parse(group, signal)),
    });
    expect(sizes).toEqual([500, 500, 200]);
  });

  it('gives up loudly when an effect returns too few outcomes, instead of hanging', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }, { key: 'b' }]);
    await execute(runs, { ...happy, parse, storeLocal: async () => ['storedLocally'] });
    expect(runs.map((run) => run.state)).toEqual(['gaveUp', 'gaveUp']);
    expect(runs[0]?.error?.code).toBe('E_OUTCOMES_MISSING');
  });

  it('gives up loudly when an effect answers with an event its state does not know', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }]);
    await execute(runs, { ...happy, parse, storeLocal: async (group) => group.map(() => 'storedInRedis') });
    expect(runs[0]?.state).toBe('gaveUp');
    expect(runs[0]?.error?.message).toContain('The state fetched does not know the event storedInRedis');
  });

  it('lets a run wait when an effect throws, and keeps what was thrown', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }]);
    const broken: Effect = async () => {
      throw new TypeError('no such thing');
    };
    await execute(runs, { ...happy, parse, storeRedis: broken });
    expect(runs[0]).toMatchObject({ state: 'parsed', attempts: 1 });
    expect(runs[0]?.error?.message).toContain('no such thing');
    expect(runs[0]?.dueMs).toBeGreaterThan(0);
  });

  it('ends an effect at its timeout and fires its signal', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }]);
    let aborted = false;
    const slow: Effect = (_, signal) =>
      new Promise(() => signal.addEventListener('abort', () => (aborted = true), { once: true }));
    await execute(runs, { ...happy, parse, storeRedis: slow }, { effectTimeoutMs: 20 });
    expect(runs[0]).toMatchObject({ state: 'parsed', attempts: 1 });
    expect(runs[0]?.error?.code).toBe('E_EFFECT_TIMEOUT');
    expect(aborted).toBe(true);
  });

  it('stops at once when its own signal fires, and the effect sees it', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }]);
    const abort = new AbortController();
    let seen = false;
    const hanging: Effect = (_, signal) => {
      signal.addEventListener('abort', () => (seen = true), { once: true });
      setImmediate(() => abort.abort(new Error('lock lost')));
      return new Promise(() => undefined);
    };
    const walked = execute(runs, { ...happy, parse, storeRedis: hanging }, { signal: abort.signal });
    await expect(walked).rejects.toMatchObject({ code: 'E_ABORTED' });
    expect(seen).toBe(true);
    expect(runs[0]?.state).toBe('localCached');
  });

  it('does not let a slow source hold up the runs of another service', async () => {
    const slowService = aService({ id: 'slow' });
    const { runs, parse } = runsFor([{ key: 'a', service: slowService }, { key: 'b' }]);
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const fetch: Effect = async (group) => {
      if (group[0]?.change?.service === slowService) await gate.promise;
      return group.map(() => 'fetched');
    };
    const storeRedis: Effect = async (group) => {
      order.push(...group.map((run) => run.change?.key ?? ''));
      gate.resolve();
      return group.map(() => 'storedInRedis');
    };
    await execute(runs, { ...happy, parse, fetch, storeRedis });
    expect(order).toEqual(['b', 'a']);
  });

  it('gives up after the service’s attempts and counts none for a free wait', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }, { key: 'b' }]);
    const fetch: Effect = (group) =>
      group.map((run) =>
        run.index === 0
          ? fail('E_FETCH_FAILED', { service: 's', reason: 'down' })
          : fail('E_SOURCE_OPEN', { service: 's', retryAfterMs: 500 }),
      );
    const [failing, waiting] = runs;
    if (failing === undefined || waiting === undefined) throw new Error('two runs');
    failing.attempts = aService().retry.attempts - 1;
    await execute(runs, { ...happy, parse, fetch });
    expect(failing).toMatchObject({ state: 'gaveUp', dueMs: 0 });
    expect(waiting).toMatchObject({ state: 'parsed', attempts: 0, waitsFree: true });
  });
});

describe('latest wins inside a chunk', () => {
  it('fetches only the newest message of a key; the others name it', async () => {
    const { runs, parse } = runsFor([
      { key: 'a', version: '1' },
      { key: 'a', version: '3' },
      { key: 'a', version: '2' },
    ]);
    const fetched: string[] = [];
    const fetch: Effect = (group) => group.map((run) => (fetched.push(run.id), 'fetched'));
    await execute(runs, { ...happy, parse, fetch });
    expect(fetched).toEqual(['t-0@1']);
    expect(runs.map((run) => run.state)).toEqual(['superseded', 'redisCached', 'superseded']);
    expect(runs.map((run) => run.supersededBy)).toEqual(['t-0@1', '', 't-0@1']);
  });

  it('takes the last message where none carries a version', async () => {
    const { runs, parse } = runsFor([{ key: 'a' }, { key: 'a', op: 'delete' }]);
    await execute(runs, { ...happy, parse });
    expect(runs.map((run) => run.state)).toEqual(['superseded', 'evicted']);
  });

  it('gives a tie of versions to the delete', async () => {
    const { runs, parse } = runsFor([
      { key: 'a', version: '7', op: 'delete' },
      { key: 'a', version: '7' },
    ]);
    await execute(runs, { ...happy, parse });
    expect(runs.map((run) => run.state)).toEqual(['evicted', 'superseded']);
  });

  it('lets the next newest take over when the newest is rejected', async () => {
    const { runs, parse } = runsFor([
      { key: 'a', version: '1' },
      { key: 'a', version: '2' },
      { key: 'a', version: '3' },
    ]);
    const fetch: Effect = (group) =>
      group.map((run) => (run.index === 2 ? fail('E_VERSION_MISSING', { where: 'x' }) : 'fetched'));
    await execute(runs, { ...happy, parse, fetch });
    expect(runs.map((run) => run.state)).toEqual(['superseded', 'redisCached', 'rejected']);
    expect(runs[0]?.supersededBy).toBe('t-0@1');
  });

  it('lets the others wait behind a newest that waits, at no attempt of theirs', async () => {
    const { runs, parse } = runsFor([
      { key: 'a', version: '1' },
      { key: 'a', version: '2' },
    ]);
    const fetch: Effect = (group) =>
      group.map(() => fail('E_FETCH_FAILED', { service: 's', reason: 'down' }));
    await execute(runs, { ...happy, parse, fetch });
    expect(runs.map((run) => [run.state, run.attempts])).toEqual([
      ['parsed', 0],
      ['parsed', 1],
    ]);
    expect(runs[0]?.dueMs).toBe(runs[1]?.dueMs);
  });

  it('keeps the order of arrival where versions cannot be compared', async () => {
    const { runs, parse } = runsFor([
      { key: 'a', version: '5' },
      { key: 'a', op: 'delete' },
      { key: 'a', version: '4' },
    ]);
    const order: string[] = [];
    const fetch: Effect = (group) =>
      group.map((run) => (order.push(run.id), run.change?.op === 'delete' ? 'deleted' : 'fetched'));
    await execute(runs, { ...happy, parse, fetch });
    expect(order).toEqual(['t-0@0', 't-0@1', 't-0@2']);
    expect(runs.map((run) => run.state)).toEqual(['redisCached', 'evicted', 'redisCached']);
  });
});
