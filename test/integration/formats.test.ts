import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDeadLetterMover, DEAD_LETTER_QUEUE } from '../../src/adapters/bullmq-dead-letters.ts';
import { createRedisMarks } from '../../src/adapters/redis-mark.ts';
import { createSqliteAudit, openSqliteAuditReader } from '../../src/adapters/sqlite-audit.ts';
import { CHUNK_FORMAT } from '../../src/core/chunk.ts';
import { fail } from '../../src/core/errors.ts';
import type { DeadLetter, Execution, FetchOutcome, Mark } from '../../src/core/ports.ts';
import { AUDIT_FORMAT, type AuditEntry } from '../../src/core/trail.ts';
import { DEAD_LETTER_FORMAT } from '../../src/core/dead-letter.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { formOf, golden, goldenFile, goldenFormats } from '../support/golden.ts';
import { rememberingLog } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { aMessage, machine, type Pipeline, startPipeline } from '../support/pipeline.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { uniqueName } from '../support/servers/shared.ts';
import { aService } from '../support/service.ts';

interface GoldenJob {
  readonly id: string;
  readonly hash: Readonly<Record<string, string>>;
}

interface GoldenEntry {
  readonly entry: AuditEntry;
  readonly records: readonly object[];
}

describeWith(['redis'], 'formats in Redis', () => {
  const log = rememberingLog();
  let pipeline: Pipeline;
  let answer: FetchOutcome;

  beforeEach(async () => {
    log.lines.length = 0;
    const keys = uniqueName('k');
    answer = { kind: 'record', text: '{"id":300,"version":1}' };
    const inline = aService({ keyOf: (id) => `${keys}_product_${id}` });
    const fetched = aService({
      id: 'shopInfoService',
      inline: false,
      keyOf: (id) => `${keys}_shop_${id}`,
      source: { fetchMany: async (ids) => ids.map(() => answer), close: async () => undefined },
      retry: { attempts: 9, backoff: { initialMs: 20, factor: 1, maxMs: 20, jitter: 0 }, horizonMs: 60_000 },
    });
    pipeline = await startPipeline({ services: [inline, fetched], autostart: false, log });
  });
  afterEach(() => pipeline.close());

  const state = (id: string) => pipeline.queue.getJobState(id);
  const becomes = (id: string, wanted: string) =>
    waitFor(async () => (await state(id)) === wanted, { what: `${id} to be ${wanted}`, timeoutMs: 30_000 });

  it.each(goldenFormats('job'))('a job that was left in format %d is worked to its end', async (format) => {
    const { id, hash } = golden('job', format) as GoldenJob;
    await pipeline.redis.hset(pipeline.keys.job(id), hash);
    await pipeline.redis.lpush(`${pipeline.prefix}:changes:wait`, id);
    await pipeline.worker.start();
    await becomes(id, 'completed');
    const rows = (await pipeline.audit()).flatMap(({ execution, rows: each }) =>
      each.map((row) => [execution, ...row]),
    );
    // Its second execution, the first being on record as closed; the attempt it had is remembered.
    expect(rows.map((row) => row.slice(0, 9))).toEqual([
      [2, '18', 'redisCached', 0, 0, '300', expect.any(String), 'counter:1', 1],
    ]);
  });

  /** What a later program writes: another layout, or states of a later statechart. */
  const later = {
    layout: { format: CHUNK_FORMAT + 1 },
    statechart: {
      machine: 'change-message@99',
      waiting: { 0: { state: 'weighed', attempts: 1, dueMs: 1, sinceMs: 1, error: 'E_FETCH_FAILED' } },
    },
  };
  /** Stands for that later program: it knows how to read both. */
  const reading = (execution: Execution): Execution => {
    const { waiting: _, ...data } = execution.data;
    return { ...execution, data: { ...data, format: CHUNK_FORMAT, machine } };
  };

  it.each(Object.entries(later))(
    'a job with a newer %s waits untouched however often it is looked at, and goes to the newer worker whole',
    async (_, more) => {
      await pipeline.add(
        'newer',
        [1, 2].map((id) => aMessage(id, { serviceId: 'shopInfoService', id, version: 1 })),
      );
      const data = { ...(await pipeline.data('newer')), ...more };
      await pipeline.redis.hset(pipeline.keys.job('newer'), 'data', JSON.stringify(data));
      await pipeline.worker.start();
      for (let look = 1; look <= 4; look += 1) {
        const passes = Array.from({ length: look }, (__, index) => index + 1).join(' ');
        await waitFor(
          async () => (await pipeline.redis.hget(pipeline.keys.job('newer'), 'cw-passed')) === passes,
          { what: `look ${look}`, timeoutMs: 30_000 },
        );
        await becomes('newer', 'delayed');
        if (look < 4) await (await pipeline.queue.getJob('newer'))?.promote();
      }
      expect(await pipeline.data('newer')).toEqual(data);
      expect(await pipeline.audit()).toEqual([]);
      expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { fields: { job: 'newer', code: 'E_FORMAT_NEWER' } },
      ]);

      await pipeline.worker.close(1_000);
      const newer = pipeline.makeWorker('worker-newer', reading);
      await newer.start();
      await (await pipeline.queue.getJob('newer'))?.promote();
      await becomes('newer', 'completed');
      // Not taken for a job that kills its workers: not split, and nobody is named as lost.
      expect(
        (await pipeline.audit()).map(({ execution, rows }) => [execution, rows.map((row) => row[1])]),
      ).toEqual([[5, ['redisCached', 'redisCached']]]);
      await newer.close(1_000);
    },
  );

  it('old and new workers share a queue: each job ends, and what is known to both never waits for an upgrade', async () => {
    const ids = Array.from({ length: 12 }, (_, index) => `job-${index}`);
    for (const [index, id] of ids.entries()) {
      await pipeline.add(id, [aMessage(index, { serviceId: 'productInfoService', id: index, version: 1 })]);
      if (index % 3 > 0) continue;
      const data = { ...(await pipeline.data(id)), ...later.layout };
      await pipeline.redis.hset(pipeline.keys.job(id), 'data', JSON.stringify(data));
    }
    const newer = pipeline.makeWorker('worker-newer', reading);
    await pipeline.worker.start();
    await Promise.all(ids.filter((_, index) => index % 3 > 0).map((id) => becomes(id, 'completed')));
    await newer.start();
    await waitFor(
      async () => {
        // What the older one was handed rests for a while: no need to wait that long.
        for (const job of await pipeline.queue.getDelayed()) await job.promote().catch(() => undefined);
        return (await pipeline.queue.getCompletedCount()) === ids.length;
      },
      { what: 'every job to end', timeoutMs: 60_000 },
    );
    const ended = (await pipeline.audit()).flatMap(({ rows }) => rows.map((row) => `${row[0]} ${row[1]}`));
    expect(ended.sort()).toEqual(ids.map((_, index) => `${index} redisCached`).sort());
    await newer.close(1_000);
  });

  it.each(goldenFormats('mark'))(
    'a mark of format %d is read, and moved from only where it stands',
    async (format) => {
      const { marks } = golden('mark', format) as {
        marks: readonly { text: string; mark: Mark; leftFor?: number }[];
      };
      const store = createRedisMarks({
        connection: pipeline.redis,
        prefix: pipeline.prefix,
        queue: 'changes',
        log: silentLog,
      });
      for (const [partition, { text, mark, leftFor }] of marks.entries()) {
        const name = { clusterId: 'c1', groupId: 'g', topic: 'cache-message', partition };
        const key = `${pipeline.prefix}:mark:g:cache-message:${partition}`;
        await pipeline.redis.hset(key, 'cluster:c1', text, 'epoch', String(mark.epoch), 'cluster', 'c1');
        expect(await store.read(name)).toEqual(mark);
        expect(await store.look(name)).toEqual({ mark, leftFor, moves: 0 });
        expect(await store.move(name, mark, { ...mark, enqueued: '99' })).toBe(leftFor === undefined);
        expect(await store.move(name, { ...mark, enqueued: '99' }, mark)).toBe(leftFor === undefined);
        expect(await pipeline.redis.hget(key, 'cluster:c1')).toBe(text);
      }
      store.close();
    },
  );

  it.each(goldenFormats('dead-letter'))(
    'a dead letter of format %d reaches its queue unchanged',
    async (format) => {
      const { letters } = golden('dead-letter', format) as { letters: readonly DeadLetter[] };
      for (const letter of letters)
        await pipeline.redis.xadd(pipeline.keys.deadOutbox, '*', 'e', JSON.stringify(letter));
      const { redis, blocking, prefix, keys, clock } = pipeline;
      const mover = createDeadLetterMover({
        redis,
        connection: blocking,
        prefix,
        outbox: keys.deadOutbox,
        kafka: undefined,
        clock,
        log,
      });
      expect(await mover.flush()).toBe(letters.length);
      const jobs = await redis.lrange(`${prefix}:${DEAD_LETTER_QUEUE}:wait`, 0, -1);
      const moved = await Promise.all(
        jobs.map((id) => redis.hget(`${prefix}:${DEAD_LETTER_QUEUE}:${id}`, 'data')),
      );
      expect(moved.reverse().map((text) => JSON.parse(text ?? ''))).toEqual(letters);
      await mover.close();
    },
  );

  it('what is written today has the form of the golden file of its format', async () => {
    answer = {
      kind: 'failed',
      error: fail('E_FETCH_FAILED', { service: 'shopInfoService', reason: 'status 500' }),
    };
    await pipeline.add('mixed', [
      aMessage(17, { serviceId: 'productInfoService', id: 200, version: 7 }),
      { ...aMessage(18, { serviceId: 'shopInfoService', id: 300 }), key: '300', headers: [['trace', 'a1']] },
    ]);
    await pipeline.worker.start();
    await becomes('mixed', 'completed');
    const { entries } = golden('audit-entry', AUDIT_FORMAT) as { entries: readonly GoldenEntry[] };
    const [cached] = entries;
    const [first] = await pipeline.audit();
    expect(Object.keys(first ?? {})).toEqual(Object.keys(cached?.entry ?? {}));
    expect(formOf(first?.rows[0])).toEqual(formOf(cached?.entry.rows[0]));
    expect(formOf(first?.trails[0])).toEqual(formOf(cached?.entry.trails[0]));
    const { letters } = golden('dead-letter', DEAD_LETTER_FORMAT) as { letters: readonly DeadLetter[] };
    const [letter] = await pipeline.deadLetters();
    expect(Object.keys(letter ?? {})).toEqual(Object.keys(letters[0] ?? {}));
    expect(letter).toMatchObject({ format: DEAD_LETTER_FORMAT, key: '300', headers: [['trace', 'a1']] });
  });
});

describe('an audit store', () => {
  it.each(goldenFormats('audit-store'))('in a file of format %d is read, and written on', async (format) => {
    const file = join(privateDir('audit'), 'audit.db');
    copyFileSync(goldenFile('audit-store', format, 'db'), file);
    const { entries } = golden('audit-entry', 1) as { entries: readonly GoldenEntry[] };
    const expected = entries.flatMap(({ records }) => records);
    const store = createSqliteAudit({ file });
    expect(await store.cursor('{cachewright}:audit-outbox')).toBe('3-0');
    const found = await store.find({ limit: 100 });
    expect(found.map((record) => ({ ...record, to: record.steps.map(({ to }) => to) }))).toMatchObject(
      expected,
    );
    expect(await store.find({ message: 'cache-message-0@18', limit: 100 })).toHaveLength(1);
    expect(await store.find({ errorCode: 'E_FETCH_FAILED', limit: 100 })).toHaveLength(1);
    // What it holds is known, what is new is added.
    const again = entries.map(({ entry }, index) => ({ id: `${index + 4}-0`, json: JSON.stringify(entry) }));
    const more = { ...entries[1]?.entry, job: 'another' };
    expect(
      await store.append('{cachewright}:audit-outbox', [...again, { id: '9-0', json: JSON.stringify(more) }]),
    ).toBe(1);
    await store.close();
    const reader = openSqliteAuditReader(file);
    expect(await reader.count()).toBe(expected.length + 1);
    await reader.close();
  });
});
