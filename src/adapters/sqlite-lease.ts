import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fail, reasonOf } from '../core/errors.ts';

/** SQLite's result code for "another connection holds the lock". */
const SQLITE_BUSY = 5;

/**
 * The right to write a file: an open write transaction on a small database beside it (`FILE-lease`). The lock is the
 * operating system's, so it ends with its process however that dies, and there is no stale lock to judge by its age.
 *
 * @returns gives the lease back
 * @throws `E_AUDIT_BUSY` when another connection, of this process or another on this host, has it
 */
export function takeLease(file: string): () => void {
  const lease = new DatabaseSync(`${realPath(file)}-lease`, { timeout: 0 });
  try {
    lease.exec('begin immediate');
  } catch (error) {
    lease.close();
    if (isBusy(error)) throw fail('E_AUDIT_BUSY', { file }, { cause: error });
    throw fail('E_AUDIT_STORE', { reason: `${file}-lease: ${reasonOf(error)}` }, { cause: error });
  }
  return () => lease.close();
}

/** One file has one lease, whatever links lead to it. */
function realPath(file: string): string {
  return existsSync(file) ? realpathSync(file) : join(realpathSync(dirname(file)), basename(file));
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}
