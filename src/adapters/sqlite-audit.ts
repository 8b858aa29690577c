import type { DatabaseSync } from 'node:sqlite';
import { readAuditEntry } from '../core/audit-records.ts';
import { CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { AuditDefect, AuditReader, AuditStore, OutboxEntry } from '../core/ports.ts';
import { AUDIT_FORMAT } from '../core/trail.ts';
import { createAuditAppender } from './sqlite-audit-append.ts';
import { migrateFile, openForReading, openForWriting } from './sqlite-audit-schema.ts';
import { createAuditSearch } from './sqlite-audit-search.ts';
import { takeLease } from './sqlite-lease.ts';

export interface SqliteAuditOptions {
  /** Path of the database; made when it is not there. Beside it lie `FILE-lease` and, while in use, `FILE-wal` and `FILE-shm`. */
  readonly file: string;
  /** Told about entries that cannot be read, after their text is stored. */
  readonly onDefect?: (defect: AuditDefect) => void;
}

/**
 * The audit store in one SQLite file (`node:sqlite`), for one host. Its calls block: give it a thread of its own.
 *
 * @throws `E_AUDIT_BUSY` when another store writes the file, `E_FORMAT_NEWER`, `E_AUDIT_STORE`
 */
export function createSqliteAudit(options: SqliteAuditOptions): AuditStore {
  const { file } = options;
  const release = asStoreError(() => takeLease(file));
  let db: DatabaseSync;
  try {
    db = asStoreError(() => openForWriting(file));
  } catch (error) {
    release();
    throw error;
  }
  const append = createAppend(db, options);
  const search = createAuditSearch(db);
  const readCursor = db.prepare('select cursor from outboxes where name = ?');
  let isOpen = true;
  return {
    append: (outbox, entries) => answer(() => append(outbox, entries)),
    cursor: (outbox) => answer(() => String(readCursor.get(outbox)?.['cursor'] ?? '0-0')),
    find: (query) => answer(() => search.find(query)),
    count: () => answer(() => search.count()),
    close() {
      if (!isOpen) return Promise.resolve();
      isOpen = false;
      return answer(() => {
        db.close();
        release();
      });
    },
  };
}

/**
 * Brings a file to today's layout, under its lease: nobody writes it meanwhile.
 *
 * @returns its format before (0: there was none) and now
 * @throws `E_AUDIT_BUSY` while a service writes it (that one has migrated it), `E_FORMAT_NEWER`, `E_AUDIT_STORE`
 */
export function migrateSqliteAudit(file: string): { readonly from: number; readonly to: number } {
  const release = asStoreError(() => takeLease(file));
  try {
    return asStoreError(() => migrateFile(file));
  } finally {
    release();
  }
}

/**
 * Reads an audit store, whether a service writes it meanwhile or not.
 *
 * @throws `E_NOT_FOUND` when the file holds none, `E_FORMAT_NEWER`
 */
export function openSqliteAuditReader(file: string): AuditReader {
  const db = asStoreError(() => openForReading(file));
  const search = createAuditSearch(db);
  return {
    find: (query) => answer(() => search.find(query)),
    count: () => answer(() => search.count()),
    close: () => answer(() => db.close()),
  };
}

/** Entries, defects and the cursor in one transaction. */
function createAppend(
  db: DatabaseSync,
  { onDefect }: SqliteAuditOptions,
): (outbox: string, entries: readonly OutboxEntry[]) => number {
  const appender = createAuditAppender(db);
  const addDefect = db.prepare(
    'insert or ignore into defects (outbox, outbox_id, reason, entry) values (?, ?, ?, ?)',
  );
  const saveCursor = db.prepare(
    'insert into outboxes values (?1, ?2) on conflict (name) do update set cursor = ?2',
  );
  return (outbox, entries) => {
    const defects: AuditDefect[] = [];
    let added = 0;
    let cursor: string | undefined;
    db.exec('begin immediate');
    try {
      for (const { id, json } of entries) {
        const read = readAuditEntry(json);
        if (read.kind === 'newer') {
          if (cursor !== undefined) break;
          throw fail('E_FORMAT_NEWER', { what: 'audit entry', format: read.format, known: AUDIT_FORMAT });
        }
        if (read.kind === 'entry') added += appender.add(read.entry, json);
        else {
          addDefect.run(outbox, id, read.reason, json);
          defects.push({ outbox, id, reason: read.reason });
        }
        cursor = id;
      }
      appender.finish();
      if (cursor !== undefined) saveCursor.run(outbox, cursor);
      db.exec('commit');
    } catch (error) {
      if (db.isTransaction) db.exec('rollback');
      appender.forget();
      throw error;
    }
    for (const defect of defects) onDefect?.(defect);
    return added;
  };
}

/** SQLite answers at once; a port's caller must not notice which store it has. */
function answer<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(asStoreError(work));
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : fail('E_AUDIT_STORE', { reason: String(error) }));
  }
}

function asStoreError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof CachewrightError) throw error;
    throw fail('E_AUDIT_STORE', { reason: reasonOf(error) }, { cause: error });
  }
}
