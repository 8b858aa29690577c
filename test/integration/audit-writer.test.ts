import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import {
  type AuditThread,
  type AuditThreadOptions,
  createAuditThread,
} from '../../src/adapters/audit-thread.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisOutbox } from '../../src/adapters/redis-outbox.ts';
import { createSqliteAudit, openSqliteAuditReader } from '../../src/adapters/sqlite-audit.ts';
import { createAuditWriter } from '../../src/audit/writer.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type CachewrightError, fail } from '../../src/core/errors.ts';
import type { AuditLag, AuditStore } from '../../src/core/ports.ts';
import type { AuditEntry } from '../../src/core/trail.ts';
import { chunkEntry } from '../support/audit-entries.ts';
import { describeWith } from '../support/needs.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { uniqueName } from '../support/servers/shared.ts';

const newFile = (): string => join(privateDir('audit'), 'audit.db');

describeWith(['redis'], 'the audit writer', () => {
  let server: RedisServer;
  let redis: RedisClient;

  const connected = async (): Promise<RedisClient> => {
    const client = connectRedis({
      url: server.url,
      name: 'audit-test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 2_000,
      onError: () => undefined,
    });
    await waitForRedis(client, { what: 'Redis', timeoutMs: 10_000 });
    return client;
  };
  beforeAll(async () => {
    server = await startRedis({ appendonly: true });
    redis = await connected();
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  const add = (outbox: string, entry: AuditEntry | string, id = '*'): Promise<string | null> =>
    redis.xadd(outbox, id, 'e', typeof entry === 'string' ? entry : JSON.stringify(entry));
  const addChunks = async (outbox: string, chunks: number, size: number): Promise<void> => {
    for (let index = 0; index < chunks; index += 1) await add(outbox, chunkEntry(index, size));
  };

  /** A writer in this process, over a store of the test's choice. */
  const startWriter = async (name: string, store: AuditStore) => {
    const stop = new AbortController();
    const errors: CachewrightError[] = [];
    const lags: AuditLag[] = [];
    const outbox = createRedisOutbox(await connected(), name);
    const writer = createAuditWriter({
      outbox,
      store,
      clock: systemClock(),
      onLag: (lag) => lags.push(lag),
      onError: (error) => errors.push(error),
    });
    const run = writer.run(stop.signal);
    onTestFinished(async () => {
      stop.abort();
      await run;
      await outbox.close();
      await store.close();
    });
    return { writer, errors, lags };
  };

  const startProcess = (name: string, file: string, ...more: string[]): ChildProcess => {
    const program = fileURLToPath(new URL('../support/audit-writer-process.ts', import.meta.url));
    const child = spawn(process.execPath, [program, server.url, name, file, ...more], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    const exited = once(child, 'exit');
    expect(child.exitCode).toBeNull();
    child.kill('SIGKILL');
    await exited;
  };
  const rowsIn = async (file: string): Promise<number> => {
    const reader = openSqliteAuditReader(file);
    return reader.count().finally(() => void reader.close());
  };
  /** Counted row by row, not by the store's own counters. */
  const rowsByMessage = (file: string): { rows: number; messages: number } => {
    const db = new DatabaseSync(file, { readOnly: true });
    const row = db.prepare('select count(*) as rows, count(distinct message) as messages from audit').get();
    db.close();
    return { rows: Number(row?.['rows']), messages: Number(row?.['messages']) };
  };

  it('moves what is in the outbox to the store and leaves the outbox empty', async () => {
    const name = uniqueName('outbox');
    await addChunks(name, 30, 100);
    const store = createSqliteAudit({ file: newFile() });
    const { writer, lags } = await startWriter(name, store);
    expect(await writer.flush(10_000)).toBe(true);
    expect(await store.count()).toBe(3_000);
    expect(await redis.xlen(name)).toBe(0);
    expect(lags.at(-1)).toEqual({ entries: 0, ageMs: 0 });
  });

  it('writes exactly one row each though it is killed again and again half-way', async () => {
    const name = uniqueName('outbox');
    const file = newFile();
    await addChunks(name, 400, 250);
    let kills = 0;
    for (const goal of [1, 20_000, 40_000, 60_000]) {
      const child = startProcess(name, file);
      await waitFor(async () => (await rowsIn(file)) >= goal, {
        what: `${goal} rows`,
        everyMs: 1,
        timeoutMs: 20_000,
      });
      await kill(child);
      kills += 1;
      expect(await redis.xlen(name)).toBeGreaterThan(0);
    }
    expect(kills).toBe(4);
    const { writer } = await startWriter(name, createSqliteAudit({ file }));
    expect(await writer.flush(20_000)).toBe(true);
    expect(rowsByMessage(file)).toEqual({ rows: 100_000, messages: 100_000 });
    expect(await rowsIn(file)).toBe(100_000);
  });

  it('writes nothing twice when it is killed between the commit and the removal', async () => {
    const name = uniqueName('outbox');
    const file = newFile();
    await addChunks(name, 10, 10);
    const child = startProcess(name, file, 'before-removal');
    if (child.stdout !== null) await once(child.stdout, 'data');
    await kill(child);
    expect(await rowsIn(file)).toBe(100);
    expect(await redis.xlen(name)).toBe(10);
    const { writer } = await startWriter(name, createSqliteAudit({ file }));
    expect(await writer.flush(10_000)).toBe(true);
    expect(rowsByMessage(file)).toEqual({ rows: 100, messages: 100 });
    expect(await redis.xlen(name)).toBe(0);
  });

  it('reads entries whose ids went back after a rollback of Redis, and deletes none unread', async () => {
    const name = uniqueName('outbox');
    const store = createSqliteAudit({ file: newFile() });
    const { writer } = await startWriter(name, store);
    await add(name, chunkEntry(0, 10));
    expect(await writer.flush(10_000)).toBe(true);
    await redis.del(name);
    await add(name, chunkEntry(1, 10), '5-1');
    await add(name, chunkEntry(2, 10), '6-1');
    await add(name, chunkEntry(3, 10));
    expect(await writer.flush(10_000)).toBe(true);
    expect(await store.count()).toBe(40);
  });

  it('waits for a store that is away, tells it, and then catches up', async () => {
    const name = uniqueName('outbox');
    const real = createSqliteAudit({ file: newFile() });
    let isAway = true;
    const { writer, errors, lags } = await startWriter(name, {
      ...real,
      append: (...batch) =>
        isAway
          ? Promise.reject(fail('E_AUDIT_STORE', { reason: 'database or disk is full' }))
          : real.append(...batch),
    });
    await addChunks(name, 20, 10);
    await waitFor(() => errors.length >= 2, { what: 'two failures' });
    expect(errors.map((error) => error.code)).toContain('E_AUDIT_STORE');
    await waitFor(() => lags.at(-1)?.entries === 20, { what: 'the lag to be told' });
    expect(await writer.flush(50)).toBe(false);
    isAway = false;
    await waitFor(async () => (await real.count()) === 200, { what: 'the rows' });
  });

  it('goes on by itself when Redis was away', async () => {
    const name = uniqueName('outbox');
    const store = createSqliteAudit({ file: newFile() });
    const { errors } = await startWriter(name, store);
    await add(name, chunkEntry(0, 10));
    await waitFor(async () => (await store.count()) === 10, { what: 'the first rows' });
    await server.kill();
    await waitFor(() => errors.some((error) => error.code === 'E_UNREACHABLE'), {
      what: 'the failure to be told',
    });
    await server.restart();
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
    await add(name, chunkEntry(1, 10));
    await waitFor(async () => (await store.count()) === 20, { what: 'the rows after the outage' });
    await waitFor(async () => (await redis.xlen(name)) === 0, { what: 'the outbox to be empty' });
    expect(errors.length).toBeGreaterThan(0);
  });

  it('leaves an entry of a newer format in the outbox, and those behind it, and says so', async () => {
    const name = uniqueName('outbox');
    await add(name, chunkEntry(0, 10));
    await add(name, JSON.stringify({ ...chunkEntry(1, 10), format: 2 }));
    await add(name, chunkEntry(2, 10));
    const store = createSqliteAudit({ file: newFile() });
    const { errors } = await startWriter(name, store);
    await waitFor(() => errors.some((error) => error.code === 'E_FORMAT_NEWER'), { what: 'E_FORMAT_NEWER' });
    expect(await store.count()).toBe(10);
    expect(await redis.xlen(name)).toBe(2);
  });
});

describeWith(['redis'], 'the audit thread', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  const newThread = (
    more: Partial<AuditThreadOptions> = {},
  ): { thread: AuditThread; errors: CachewrightError[] } => {
    const errors: CachewrightError[] = [];
    const thread = createAuditThread({
      file: newFile(),
      redisUrl: server.url,
      outbox: uniqueName('outbox'),
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 2_000,
      onLag: () => undefined,
      onDefect: () => undefined,
      onError: (error) => errors.push(error),
      ...more,
    });
    onTestFinished(async () => void (await thread.close(1_000)));
    return { thread, errors };
  };
  const addTo = async (name: string, ...entries: readonly (AuditEntry | string)[]): Promise<void> => {
    const client = connectRedis({
      url: server.url,
      name: 'test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 2_000,
      onError: () => undefined,
    });
    await waitForRedis(client, { what: 'Redis', timeoutMs: 5_000 });
    for (const entry of entries)
      await client.xadd(name, '*', 'e', typeof entry === 'string' ? entry : JSON.stringify(entry));
    client.disconnect();
  };

  it('says nothing of a connection that is only on its way', async () => {
    const { thread, errors } = newThread();
    await thread.start();
    expect(await thread.flush(5_000)).toBe(true);
    expect(errors).toEqual([]);
  });

  it('makes a trail visible within a second', async () => {
    const outbox = uniqueName('outbox');
    const { thread } = newThread({ outbox });
    expect(await thread.start()).toBe('writing');
    const sentMs = performance.now();
    await addTo(outbox, chunkEntry(0, 3));
    const found = await waitFor(
      async () => {
        const records = await thread.find({ message: 'cache-message-0@1', limit: 10 });
        return records.length > 0 && records;
      },
      { what: 'the trail', timeoutMs: 5_000, everyMs: 10 },
    );
    expect(performance.now() - sentMs).toBeLessThan(1_000);
    expect(found[0]?.steps.at(-1)?.to).toBe('redisCached');
    expect(await thread.count()).toBe(3);
  });

  it('tells of an entry that cannot be read', async () => {
    const outbox = uniqueName('outbox');
    const told: string[] = [];
    const { thread } = newThread({ outbox, onDefect: (defect) => told.push(defect.reason) });
    await thread.start();
    await addTo(outbox, 'no JSON', chunkEntry(0, 3));
    expect(await thread.flush(5_000)).toBe(true);
    await waitFor(() => told.length === 1, { what: 'the defect' });
    expect(await thread.count()).toBe(3);
  });

  it('writes what is left before it closes', async () => {
    const outbox = uniqueName('outbox');
    const file = newFile();
    const { thread } = newThread({ outbox, file });
    await thread.start();
    await addTo(outbox, ...Array.from({ length: 50 }, (_, index) => chunkEntry(index, 100)));
    expect(await thread.close(10_000)).toBe(true);
    const reader = openSqliteAuditReader(file);
    expect(await reader.count()).toBe(5_000);
    await reader.close();
  });

  it('closes within its deadline though Redis is away', async () => {
    const own = await startRedis();
    const { thread } = newThread({ redisUrl: own.url });
    await thread.start();
    await own.stop();
    const sinceMs = performance.now();
    expect(await thread.close(500)).toBe(false);
    expect(performance.now() - sinceMs).toBeLessThan(1_400);
  });

  it('is started again when it dies', async () => {
    const outbox = uniqueName('outbox');
    const program = new URL('../support/audit-thread-dies-once.ts', import.meta.url);
    const { thread, errors } = newThread({ outbox, program });
    await expect(thread.start()).rejects.toThrow(/out of luck/);
    await addTo(outbox, chunkEntry(0, 3));
    await waitFor(async () => (await thread.count()) === 3, { what: 'the rows', timeoutMs: 10_000 });
    expect(errors.map((error) => error.code)).toContain('E_AUDIT_STORE');
  });

  it('stands by while another writes the file, reads it meanwhile, and takes over', async () => {
    const outbox = uniqueName('outbox');
    const file = newFile();
    const first = newThread({ outbox, file }).thread;
    expect(await first.start()).toBe('writing');
    const { thread: second, errors } = newThread({ outbox, file });
    expect(await second.start()).toBe('standby');
    expect(errors.map((error) => error.message)).toEqual([`Another process on this host writes ${file}.`]);
    await addTo(outbox, chunkEntry(0, 3));
    await waitFor(async () => (await second.count()) === 3, { what: 'the rows, read by the standby' });
    await first.close(5_000);
    await addTo(outbox, chunkEntry(1, 3));
    await waitFor(async () => (await second.count()) === 6, {
      what: 'the rows of the new writer',
      timeoutMs: 10_000,
    });
  });

  it('says so when the file cannot be opened', async () => {
    const { thread } = newThread({ file: join(newFile(), 'nowhere', 'audit.db') });
    await expect(thread.start()).rejects.toMatchObject({ code: 'E_AUDIT_STORE' });
  });
});
