import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
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
    await addChunks(name, 1_000, 250);
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
    expect(rowsByMessage(file)).toEqual({ rows: 250_000, messages: 250_000 });
    expect(await rowsIn(file)).toBe(250_000);
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
