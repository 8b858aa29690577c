import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createMemoryAudit } from '../../src/adapters/memory-audit.ts';
import { createSqliteAudit, openSqliteAuditReader } from '../../src/adapters/sqlite-audit.ts';
import type { AuditStore } from '../../src/core/ports.ts';
import { auditEntry, auditRow, chunkEntry, outboxOf } from '../support/audit-entries.ts';
import { privateDir } from '../support/servers/process.ts';
import { auditStoreSuite } from './audit-store-suite.ts';

const newFile = (): string => join(privateDir('audit'), 'audit.db');

function opened(file: string): AuditStore {
  const store = createSqliteAudit({ file });
  onTestFinished(() => store.close());
  return store;
}

auditStoreSuite('memory', (onDefect) => createMemoryAudit({ onDefect }));
auditStoreSuite('sqlite', (onDefect) => createSqliteAudit({ file: newFile(), onDefect }));

describe('the SQLite audit store', () => {
  it('keeps rows, cursor and what it learnt when it is opened again', async () => {
    const file = newFile();
    const first = createSqliteAudit({ file });
    await first.append('box', outboxOf(chunkEntry(0, 10)));
    await first.close();
    const second = opened(file);
    expect(await second.append('box', outboxOf(chunkEntry(0, 10), chunkEntry(1, 10)))).toBe(10);
    expect(await second.count()).toBe(20);
    expect(await second.cursor('box')).toBe('2-0');
    expect(await second.find({ service: 'productInfoService', recordId: '7919', limit: 10 })).toHaveLength(1);
  });

  it('shows a person with the sqlite3 shell one readable row per message and execution', async () => {
    const file = newFile();
    const errors = [{ code: 'E_MESSAGE_NOT_JSON', message: 'No.' }];
    const rejected = auditRow(11, { state: 'rejected', service: -1, recordId: '', key: '', error: 0 });
    await opened(file).append('box', outboxOf(chunkEntry(0, 10), auditEntry([rejected], { errors })));
    const db = new DatabaseSync(file, { readOnly: true });
    onTestFinished(() => db.close());
    expect(db.prepare('select count(*) as rows from audit').get()).toEqual({ rows: 11 });
    const columns = 'message, service, key, state, error_code, superseded_by, started';
    expect(
      db
        .prepare(`select ${columns} from audit where message in ('cache-message-0@1', 'cache-message-0@11')`)
        .all(),
    ).toEqual([
      {
        message: 'cache-message-0@1',
        service: 'productInfoService',
        key: 'product_info_7919',
        state: 'redisCached',
        error_code: '',
        superseded_by: '',
        started: '2026-01-31T10:00:00.000Z',
      },
      {
        message: 'cache-message-0@11',
        service: '',
        key: '',
        state: 'rejected',
        error_code: 'E_MESSAGE_NOT_JSON',
        superseded_by: '',
        started: '2026-01-31T10:00:00.000Z',
      },
    ]);
  });

  it('keeps the text of an entry that cannot be read', async () => {
    const file = newFile();
    await opened(file).append('box', outboxOf('{"format":1,'));
    const db = new DatabaseSync(file, { readOnly: true });
    onTestFinished(() => db.close());
    expect(db.prepare('select outbox, outbox_id, entry from defects').all()).toEqual([
      { outbox: 'box', outbox_id: '1-0', entry: '{"format":1,' },
    ]);
  });

  it('finds keys in every part of the key index', async () => {
    const store = opened(newFile());
    const unique = (index: number) =>
      auditEntry(
        Array.from({ length: 1_000 }, (_, place) =>
          auditRow(index * 1_000 + place, { recordId: String(index * 1_000 + place) }),
        ),
        { job: `job-${index}` },
      );
    // Two merged segments of 250,000 postings, and the open one.
    for (let index = 0; index < 510; index += 10)
      await store.append('box', outboxOf(...Array.from({ length: 10 }, (_, more) => unique(index + more))));
    await store.append('box', outboxOf(auditEntry([auditRow(999_999, { recordId: '5' })], { job: 'late' })));
    expect((await store.find({ key: 'product_info_5', limit: 10 })).map((record) => record.message)).toEqual([
      'cache-message-0@5',
      'cache-message-0@999999',
    ]);
    expect(await store.find({ message: 'cache-message-0@123456', limit: 10 })).toHaveLength(1);
    expect(await store.count()).toBe(510_001);
  });

  it('finds every execution of one key that fills block after block of a merged segment', async () => {
    const store = opened(newFile());
    const single = (index: number) =>
      auditEntry([auditRow(index, { recordId: index % 3 === 0 ? 'cold' : 'hot' })], { job: `job-${index}` });
    await store.append('box', outboxOf(...Array.from({ length: 10_100 }, (_, index) => single(index))));
    const found = await store.find({ key: 'product_info_hot', limit: 20_000 });
    const expected = Array.from({ length: 10_100 }, (_, index) => index).filter((index) => index % 3 !== 0);
    expect(found.map(({ message }) => message)).toEqual(expected.map((index) => `cache-message-0@${index}`));
    expect(await store.find({ key: 'product_info_cold', limit: 5 })).toHaveLength(5);
    expect(await store.find({ key: 'product_info_none', limit: 5 })).toEqual([]);
  });

  it('rolls back the whole batch when one entry cannot be stored, and takes it later', async () => {
    const file = newFile();
    const store = opened(file);
    const saboteur = new DatabaseSync(file);
    onTestFinished(() => saboteur.close());
    saboteur.exec(
      `create trigger full before insert on executions when new.job = 'job-2' begin select raise(abort, 'disk full'); end`,
    );
    const entries = outboxOf(chunkEntry(0, 5), auditEntry([auditRow(1)], { stream: 'new-0', job: 'job-2' }));
    await expect(store.append('box', entries)).rejects.toMatchObject({ code: 'E_AUDIT_STORE' });
    expect(await store.count()).toBe(0);
    expect(await store.cursor('box')).toBe('0-0');
    saboteur.exec('drop trigger full');
    expect(await store.append('box', entries)).toBe(6);
    expect(await store.find({ message: 'new-0@1', limit: 1 })).toHaveLength(1);
  });

  it('refuses a file that a newer version wrote, for writing and for reading', async () => {
    const file = newFile();
    await createSqliteAudit({ file }).close();
    const db = new DatabaseSync(file);
    db.exec('pragma user_version = 99');
    db.close();
    expect(() => createSqliteAudit({ file })).toThrow(expect.objectContaining({ code: 'E_FORMAT_NEWER' }));
    expect(() => openSqliteAuditReader(file)).toThrow(expect.objectContaining({ code: 'E_FORMAT_NEWER' }));
  });

  it('says so when it cannot be opened', () => {
    expect(() =>
      createSqliteAudit({ file: join(newFile(), 'below-a-file-that-is-not-there', 'audit.db') }),
    ).toThrow(expect.objectContaining({ code: 'E_AUDIT_STORE' }));
  });
});

describe('readers of a SQLite audit store', () => {
  it('see each commit while the store writes', async () => {
    const file = newFile();
    const store = opened(file);
    const reader = openSqliteAuditReader(file);
    onTestFinished(() => reader.close());
    for (const index of [0, 1, 2]) {
      await store.append('box', outboxOf(chunkEntry(index, 10)));
      expect(await reader.count()).toBe((index + 1) * 10);
    }
  });

  it('read the file when nobody writes it', async () => {
    const file = newFile();
    const store = createSqliteAudit({ file });
    await store.append('box', outboxOf(chunkEntry(0, 10)));
    await store.close();
    const reader = openSqliteAuditReader(file);
    onTestFinished(() => reader.close());
    expect(await reader.find({ key: 'product_info_7919', limit: 10 })).toHaveLength(1);
  });

  it('are told when there is no store', () => {
    const file = newFile();
    expect(() => openSqliteAuditReader(file)).toThrow(expect.objectContaining({ code: 'E_NOT_FOUND' }));
    expect(existsSync(file)).toBe(false);
    new DatabaseSync(file).close();
    expect(() => openSqliteAuditReader(file)).toThrow(expect.objectContaining({ code: 'E_NOT_FOUND' }));
  });
});

describe('the lease of a SQLite audit store', () => {
  it('lets one store write and refuses the second, also through a link', async () => {
    const file = newFile();
    const first = opened(file);
    await first.append('box', outboxOf(chunkEntry(0, 1)));
    const link = `${file}.link`;
    symlinkSync(file, link);
    expect(() => createSqliteAudit({ file })).toThrow(expect.objectContaining({ code: 'E_AUDIT_BUSY' }));
    expect(() => createSqliteAudit({ file: link })).toThrow(/Another process on this host writes/);
    await first.close();
    await opened(file).append('box', outboxOf(chunkEntry(1, 1)));
  });

  it('ends with the process that held it, even after kill -9', async () => {
    const file = newFile();
    const holder = await startHolder(file);
    expect(() => createSqliteAudit({ file })).toThrow(expect.objectContaining({ code: 'E_AUDIT_BUSY' }));
    const exited = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exited;
    expect(await opened(file).count()).toBe(0);
  });
});

/** Another process that opens the store and keeps it. */
async function startHolder(file: string): Promise<ChildProcess> {
  const store = new URL('../../src/adapters/sqlite-audit.ts', import.meta.url).href;
  const program = `const { createSqliteAudit } = await import(${JSON.stringify(store)});
    globalThis.store = createSqliteAudit({ file: ${JSON.stringify(file)} });
    setInterval(() => undefined, 1_000);
    console.log('holds it');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error('the holder ended'))),
  ]);
  return child;
}
