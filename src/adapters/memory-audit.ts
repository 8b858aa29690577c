import { readAuditEntry, recordsAskedFor } from '../core/audit-records.ts';
import { fail } from '../core/errors.ts';
import type { AuditDefect, AuditStore } from '../core/ports.ts';
import { AUDIT_FORMAT, type AuditEntry, type AuditRow } from '../core/trail.ts';

/** An audit store that forgets with its process: for tests and the simulation; passes the same suite as the real ones. */
export function createMemoryAudit(
  options: { readonly onDefect?: (defect: AuditDefect) => void } = {},
): AuditStore {
  const stored: AuditEntry[] = [];
  const known = new Set<string>();
  const cursors = new Map<string, string>();

  const add = (entry: AuditEntry): number => {
    const { stream, epoch, redrive, job, execution: number, startedMs } = entry;
    const execution = [stream, epoch, redrive, job, number, startedMs];
    const rows = entry.rows.filter((row: AuditRow) => {
      const name = JSON.stringify([...execution, row[0]]);
      return !known.has(name) && known.add(name);
    });
    if (rows.length > 0) stored.push({ ...entry, rows });
    return rows.length;
  };

  return {
    append(outbox, entries) {
      let added = 0;
      for (const [index, { id, json }] of entries.entries()) {
        const read = readAuditEntry(json);
        if (read.kind === 'newer') {
          if (index > 0) break;
          return Promise.reject(
            fail('E_FORMAT_NEWER', { what: 'audit entry', format: read.format, known: AUDIT_FORMAT }),
          );
        }
        if (read.kind === 'entry') added += add(read.entry);
        else options.onDefect?.({ outbox, id, reason: read.reason });
        cursors.set(outbox, id);
      }
      return Promise.resolve(added);
    },
    cursor: (outbox) => Promise.resolve(cursors.get(outbox) ?? '0-0'),
    find: (query) =>
      Promise.resolve(
        query.limit <= 0 ? [] : stored.flatMap((entry) => recordsAskedFor(entry, query)).slice(-query.limit),
      ),
    count: () => Promise.resolve(known.size),
    close: () => Promise.resolve(),
  };
}
