import { afterEach, beforeEach, expect, it } from 'vitest';
import { createClosingScript } from '../../src/adapters/bullmq-closing-script.ts';
import { fail } from '../../src/core/errors.ts';
import type { FetchOutcome } from '../../src/core/ports.ts';
import type { Service } from '../../src/core/service.ts';
import type { Effect } from '../../src/pipeline/effect.ts';
import { describeWith } from '../support/needs.ts';
import { aMessage, type Pipeline, startPipeline } from '../support/pipeline.ts';
import { waitFor } from '../support/servers/process.ts';
import { uniqueName } from '../support/servers/shared.ts';
import { aService } from '../support/service.ts';

const soon = { timeoutMs: 20_000, what: 'the job to end' };

describeWith(['redis'], 'an execution of a job', () => {
  let pipeline: Pipeline;
  let inline: Service;
  let fetched: Service;
  let answer: (id: string) => FetchOutcome;

  beforeEach(() => {
    const keys = uniqueName('k');
    inline = aService({ keyOf: (id) => `${keys}_product_${id}` });
    answer = (id) => ({ kind: 'record', text: `{"id":"${id}","version":1}` });
    fetched = aService({
      id: 'shopInfoService',
      inline: false,
      keyOf: (id) => `${keys}_shop_${id}`,
      source: {
        fetchMany: async (requests) => requests.map(({ id }) => answer(id)),
        close: async () => undefined,
      },
      retry: { attempts: 3, backoff: { initialMs: 50, factor: 1, maxMs: 50, jitter: 0 }, horizonMs: 60_000 },
    });
  });
  afterEach(() => pipeline.close());

  const state = (id: string) => pipeline.queue.getJobState(id);
  const completed = (id: string) => waitFor(async () => (await state(id)) === 'completed', soon);

  it('stores each record in both tiers and leaves a readable summary', async () => {
    pipeline = await startPipeline({ services: [inline] });
    const body = { serviceId: 'productInfoService', id: 200, name: 'iphone7', version: 7 };
    await pipeline.add('one', [aMessage(17, body)]);
    await completed('one');
    const key = inline.keyOf('200');
    expect(await pipeline.redis.get(key)).toBe(JSON.stringify(body));
    expect(await pipeline.redis.get(`fence:{${key}}`)).toBe('1|l|c|7|cache-message-0|0|17');
    expect(await pipeline.localTier.get(key)).toMatchObject({ text: JSON.stringify(body) });
    const [entry] = await pipeline.audit();
    expect(entry?.trails[0]?.map(({ to }) => to)).toEqual([
      'parsed',
      'fetched',
      'localCached',
      'redisCached',
    ]);
    const job = await pipeline.queue.getJob('one');
    expect(job?.returnvalue).toMatchObject({ messages: 1, states: { redisCached: 1 } });
    expect(job?.data).toEqual({ format: 1, positions: [] });
  });

  it('retries only the runs that failed, and fetches them again', async () => {
    let calls = 0;
    answer = (id) => {
      calls += 1;
      return id === '300' && calls < 3
        ? {
            kind: 'failed',
            error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'status 500' }),
          }
        : { kind: 'record', text: '{"version":3}' };
    };
    pipeline = await startPipeline({ services: [inline, fetched] });
    await pipeline.add('mixed', [
      aMessage(1, { serviceId: 'productInfoService', id: 1, version: 1 }),
      aMessage(2, { serviceId: 'shopInfoService', id: 300 }),
    ]);
    await completed('mixed');
    expect(await pipeline.redis.get(fetched.keyOf('300'))).toBe('{"version":3}');
    const audit = await pipeline.audit();
    expect(
      audit.map(({ execution, rows }) => [execution, rows.map(([position, end]) => [position, end])]),
    ).toEqual([
      [
        1,
        [
          ['1', 'redisCached'],
          ['2', 'parsed'],
        ],
      ],
      [2, [['2', 'parsed']]],
      [3, [['2', 'redisCached']]],
    ]);
    expect(audit[0]?.errors[0]?.code).toBe('E_FETCH_FAILED');
  });

  it('gives up after the attempts of the service and sends a dead letter with the original bytes', async () => {
    answer = () => ({
      kind: 'failed',
      error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'down' }),
    });
    pipeline = await startPipeline({ services: [fetched] });
    const message = aMessage(5, { serviceId: 'shopInfoService', id: 300 });
    await pipeline.add('dies', [message]);
    await completed('dies');
    const [letter] = await pipeline.deadLetters();
    expect(letter).toMatchObject({
      message: 'cache-message-0@5',
      state: 'gaveUp',
      attempts: 3,
      value: message.value,
      service: 'shopInfoService',
      error: { code: 'E_FETCH_FAILED' },
    });
  });

  it('rejects a poison message at once and lets its neighbours through', async () => {
    pipeline = await startPipeline({ services: [inline] });
    await pipeline.add('poison', [
      aMessage(1, '{broken'),
      aMessage(2, { serviceId: 'productInfoService', id: 2, version: 1 }),
    ]);
    await completed('poison');
    expect((await pipeline.deadLetters()).map(({ error, value }) => [error.code, value])).toEqual([
      ['E_MESSAGE_NOT_JSON', '{broken'],
    ]);
    expect(await pipeline.redis.exists(inline.keyOf('2'))).toBe(1);
  });

  it('waits for an open breaker without using attempts', async () => {
    let open = 4;
    answer = () => {
      open -= 1;
      return open > 0
        ? { kind: 'failed', error: fail('E_SOURCE_OPEN', { service: 'shopInfoService', retryAfterMs: 20 }) }
        : { kind: 'record', text: '{"version":1}' };
    };
    pipeline = await startPipeline({ services: [fetched] });
    await pipeline.add('open', [aMessage(5, { serviceId: 'shopInfoService', id: 300 })]);
    await completed('open');
    const job = await pipeline.queue.getJob('open');
    expect(job?.attemptsMade).toBe(1);
    // On record once, however often it looked: the first look, and the end.
    expect(pipeline.closed.length).toBeGreaterThanOrEqual(4);
    const audit = await pipeline.audit();
    expect(audit.map(({ execution, rows }) => [execution, rows[0]?.[1], rows[0]?.[7] ?? 0])).toEqual([
      [1, 'parsed', 0],
      [pipeline.closed.length, 'redisCached', 0],
    ]);
  });

  it('has one more row on record when the reason of a wait changes', async () => {
    const reasons = [
      'E_SOURCE_BUSY',
      'E_SOURCE_BUSY',
      'E_SOURCE_OPEN',
      'E_SOURCE_OPEN',
      'E_FETCH_FAILED',
    ] as const;
    let asked = 0;
    answer = () => {
      const code = reasons[asked];
      asked += 1;
      return code === undefined
        ? { kind: 'record', text: '{"version":1}' }
        : {
            kind: 'failed',
            error: fail(code, { service: 'shopInfoService', retryAfterMs: 20, reason: 'down' }),
          };
    };
    pipeline = await startPipeline({ services: [fetched] });
    await pipeline.add('waits', [aMessage(5, { serviceId: 'shopInfoService', id: 300 })]);
    await completed('waits');
    const audit = await pipeline.audit();
    expect(audit.map(({ execution, errors }) => [execution, errors[0]?.code])).toEqual([
      [1, 'E_SOURCE_BUSY'],
      [3, 'E_SOURCE_OPEN'],
      [5, 'E_FETCH_FAILED'],
      [6, undefined],
    ]);
  });

  it('gives up a run that waited beyond the horizon of its service, and says since when', async () => {
    answer = () => ({
      kind: 'failed',
      error: fail('E_SOURCE_OPEN', { service: 'shopInfoService', retryAfterMs: 20 }),
    });
    pipeline = await startPipeline({
      services: [{ ...fetched, retry: { ...fetched.retry, horizonMs: 300 } }],
    });
    await pipeline.add('too long', [aMessage(5, { serviceId: 'shopInfoService', id: 300 })]);
    await completed('too long');
    const [letter] = await pipeline.deadLetters();
    expect(letter).toMatchObject({ state: 'gaveUp', attempts: 0, error: { code: 'E_WAITED_TOO_LONG' } });
    expect((letter?.diedMs ?? 0) - (letter?.firstFailedMs ?? 0)).toBeGreaterThanOrEqual(300);
  });

  it('keeps a chunk one job however its source fails: a hundred messages wait in it, none in a job of its own', async () => {
    let isDown = true;
    answer = (id) =>
      isDown
        ? { kind: 'failed', error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'down' }) }
        : { kind: 'record', text: `{"id":"${id}","version":1}` };
    const patient = { ...fetched, retry: { ...fetched.retry, attempts: 1_000 } };
    pipeline = await startPipeline({ services: [inline, patient] });
    const messages = Array.from({ length: 100 }, (_, n) =>
      aMessage(n, { serviceId: n === 50 ? 'productInfoService' : 'shopInfoService', id: n, version: 1 }),
    );
    await pipeline.add('outage', messages);
    const jobs: number[] = [];
    await waitFor(async () => {
      const counts = await pipeline.queue.getJobCounts();
      jobs.push(Object.values(counts).reduce((sum, count) => sum + count, 0));
      return pipeline.closed.length >= 5;
    }, soon);
    expect(Math.max(...jobs)).toBe(1);
    expect(await pipeline.redis.exists(inline.keyOf('50'))).toBe(1);
    isDown = false;
    await completed('outage');
    expect(
      await pipeline.redis.exists(...Array.from({ length: 50 }, (_, n) => patient.keyOf(String(n)))),
    ).toBe(50);
    expect((await pipeline.queue.getJob('outage'))?.returnvalue).toMatchObject({
      states: { redisCached: 99 },
    });
  });

  it('refuses the closing of an execution whose lock is another’s, and recognises a resent one', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    await pipeline.add('locked', [aMessage(1, { serviceId: 'productInfoService', id: 1, version: 1 })]);
    const before = await pipeline.data('locked');
    const script = createClosingScript(pipeline.redis, pipeline.keys);
    const closing = {
      job: 'locked',
      execution: 1,
      data: '{"format":1,"positions":[]}',
      audit: ['{}'],
      deadLetters: [],
      settled: [],
    };
    await pipeline.redis.set(pipeline.keys.lock('locked'), 'mine');
    await pipeline.redis.hset(pipeline.keys.job('locked'), 'ats', '1');
    expect(await script.close({ ...closing, token: 'zombie' })).toBe('lost');
    expect(await pipeline.data('locked')).toEqual(before);
    expect(await pipeline.audit()).toEqual([]);
    expect(await script.close({ ...closing, token: 'mine' })).toBe('closed');
    expect(await script.close({ ...closing, token: 'mine' })).toBe('repeated');
    expect(await pipeline.audit()).toHaveLength(1);
  });

  it('aborts and hands back when a worker is handed a job that it still runs', async () => {
    let entered = 0;
    let aborted = 0;
    const hangsOnce =
      (real: Effect): Effect =>
      (runs, signal) => {
        entered += 1;
        if (entered > 1) return real(runs, signal);
        signal.addEventListener('abort', () => (aborted += 1), { once: true });
        return new Promise(() => undefined);
      };
    pipeline = await startPipeline({
      services: [inline],
      lockMs: 1_000,
      stalledIntervalMs: 500,
      effects: ({ storeRedis }) => (storeRedis === undefined ? {} : { storeRedis: hangsOnce(storeRedis) }),
    });
    await pipeline.add('twin', [aMessage(1, { serviceId: 'productInfoService', id: 1, version: 1 })]);
    await waitFor(() => entered === 1, soon);
    // Another holds the lock from here on: the running execution has lost it, as after a stall.
    await pipeline.redis.del(pipeline.keys.lock('twin'));
    await completed('twin');
    expect(aborted).toBe(1);
    expect(await pipeline.redis.get(inline.keyOf('1'))).toContain('"version":1');
  });

  it('tells of an execution that died where it died, and splits what keeps dying', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    const messages = [1, 2, 3].map((n) =>
      aMessage(n, { serviceId: 'productInfoService', id: n, version: 1 }),
    );
    await pipeline.add('dying', messages);
    const job = pipeline.keys.job('dying');
    // Two processes took the job up and died: BullMQ has counted them, no closing has.
    await pipeline.redis.hset(job, 'ats', '2', 'cw-progress', '2 worker-b fetched');
    await pipeline.worker.start();
    await completed('dying');
    await completed('dying.a');
    await completed('dying.b');
    const audit = await pipeline.audit();
    expect(
      audit
        .filter(({ job: id }) => id === 'dying')
        .map(({ execution, rows }) => [execution, rows[0]?.[1], rows[0]?.[11]]),
    ).toEqual([
      [1, 'lost', 'lost before it told where it was'],
      [2, 'lost', 'lost with worker worker-b in fetched'],
    ]);
    const ends = audit
      .filter(({ job: id }) => id !== 'dying')
      .flatMap(({ rows }) => rows.map(([position, end]) => [position, end]));
    expect(ends.sort((a, b) => String(a).localeCompare(String(b)))).toEqual([
      ['1', 'redisCached'],
      ['2', 'redisCached'],
      ['3', 'redisCached'],
    ]);
  });

  it('does not take the word of an earlier execution for that of one that died without a word', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    await pipeline.add('mute', [aMessage(1, { serviceId: 'productInfoService', id: 1, version: 1 })]);
    // The first closed, with messages left; the second died at once.
    const left = ['ats', '2', 'cw-closed', '1', 'cw-progress', '1 worker-b localCached'];
    await pipeline.redis.hset(pipeline.keys.job('mute'), ...left);
    await pipeline.worker.start();
    await completed('mute');
    const lost = (await pipeline.audit()).filter(({ rows }) => rows[0]?.[1] === 'lost');
    expect(lost.map(({ execution, worker, rows }) => [execution, worker, rows[0]?.[11]])).toEqual([
      [2, '', 'lost before it told where it was'],
    ]);
  });

  it('condemns a single suspect that keeps dying, and only that', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    const message = aMessage(9, { serviceId: 'productInfoService', id: 9, version: 1 });
    await pipeline.add('killer', [message], { suspect: true });
    await pipeline.redis.hset(pipeline.keys.job('killer'), 'ats', '2', 'cw-begun', '2');
    await pipeline.worker.start();
    await completed('killer');
    expect((await pipeline.deadLetters()).map(({ error }) => error.code)).toEqual(['E_WORKER_KILLED']);
    expect(await pipeline.redis.exists(inline.keyOf('9'))).toBe(0);
  });

  it('does not read the messages of a job that kills its workers, which may be what kills', async () => {
    let reads = 0;
    const { keyOf } = inline;
    const deadly = { ...inline, keyOf: (id: string) => ((reads += 1), keyOf(id)) };
    pipeline = await startPipeline({ services: [deadly], autostart: false });
    const waits = { state: 'parsed', attempts: 1, dueMs: 1, sinceMs: 1, error: 'E_FETCH_FAILED' };
    const message = aMessage(9, { serviceId: 'productInfoService', id: 9, version: 1 });
    await pipeline.add('reader', [message], { suspect: true, waiting: { 0: waits } });
    await pipeline.redis.hset(pipeline.keys.job('reader'), 'ats', '2', 'cw-begun', '2');
    await pipeline.worker.start();
    await completed('reader');
    expect((await pipeline.deadLetters()).map(({ error }) => error.code)).toEqual(['E_WORKER_KILLED']);
    expect(reads).toBe(0);
  });

  it('takes up the messages of a job that BullMQ failed by itself', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    await pipeline.add('sunk', [aMessage(4, { serviceId: 'productInfoService', id: 4, version: 1 })]);
    const job = await pipeline.queue.getJob('sunk');
    await pipeline.redis.lrem(`${pipeline.prefix}:changes:wait`, 1, 'sunk');
    await pipeline.redis.zadd(`${pipeline.prefix}:changes:failed`, Date.now(), 'sunk');
    await pipeline.redis.hset(
      pipeline.keys.job('sunk'),
      'finishedOn',
      Date.now(),
      'failedReason',
      'stalled too often',
    );
    expect(await job?.getState()).toBe('failed');
    await pipeline.worker.start();
    await completed('sunk');
    expect(await pipeline.redis.exists(inline.keyOf('4'))).toBe(1);
  });

  it('leaves a chunk of a newer format waiting and says so', async () => {
    pipeline = await startPipeline({ services: [inline], autostart: false });
    await pipeline.add('newer', [aMessage(1, { serviceId: 'productInfoService', id: 1, version: 1 })]);
    const data = await pipeline.data('newer');
    await pipeline.redis.hset(pipeline.keys.job('newer'), 'data', JSON.stringify({ ...data, format: 99 }));
    await pipeline.worker.start();
    await waitFor(async () => (await state('newer')) === 'delayed', soon);
    expect(await pipeline.data('newer')).toMatchObject({ format: 99, values: data.values });
  });
});
