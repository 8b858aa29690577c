import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import {
  type AuditThread,
  type AuditThreadOptions,
  createAuditThread,
} from '../../src/adapters/audit-thread.ts';
import { connectRedis, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { openSqliteAuditReader } from '../../src/adapters/sqlite-audit.ts';
import type { CachewrightError } from '../../src/core/errors.ts';
import type { AuditEntry } from '../../src/core/trail.ts';
import { chunkEntry } from '../support/audit-entries.ts';
import { describeWith } from '../support/needs.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { uniqueName } from '../support/servers/shared.ts';

const newFile = (): string => join(privateDir('audit'), 'audit.db');

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
      outboxes: [uniqueName('outbox')],
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
    const { thread } = newThread({ outboxes: [outbox] });
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
    const { thread } = newThread({ outboxes: [outbox], onDefect: (defect) => told.push(defect.reason) });
    await thread.start();
    await addTo(outbox, 'no JSON', chunkEntry(0, 3));
    expect(await thread.flush(5_000)).toBe(true);
    await waitFor(() => told.length === 1, { what: 'the defect' });
    expect(await thread.count()).toBe(3);
  });

  it('writes what is left before it closes', async () => {
    const outbox = uniqueName('outbox');
    const file = newFile();
    const { thread } = newThread({ outboxes: [outbox], file });
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
    const { thread, errors } = newThread({ outboxes: [outbox], program });
    await expect(thread.start()).rejects.toThrow(/out of luck/);
    await addTo(outbox, chunkEntry(0, 3));
    await waitFor(async () => (await thread.count()) === 3, { what: 'the rows', timeoutMs: 10_000 });
    expect(errors.map((error) => error.code)).toContain('E_AUDIT_STORE');
  });

  it('stands by while another writes the file, reads it meanwhile, and takes over', async () => {
    const outbox = uniqueName('outbox');
    const file = newFile();
    const first = newThread({ outboxes: [outbox], file }).thread;
    expect(await first.start()).toBe('writing');
    const { thread: second, errors } = newThread({ outboxes: [outbox], file });
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
