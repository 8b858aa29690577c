import type { DatabaseSync } from 'node:sqlite';
import { readAuditEntry } from '../core/audit-records.ts';
import type { AuditEntry, AuditRow } from '../core/trail.ts';
import { indexEntry, type KeyPattern } from './sqlite-audit-index.ts';
import { type KeyIndex, openKeyIndex } from './sqlite-audit-keys.ts';

export interface AuditAppender {
  /** Within a transaction of the caller. Returns the rows added. */
  add(entry: AuditEntry, json: string): number;
  /** Writes the counters; the last thing before the commit. */
  finish(): void;
  /** After a rollback: what is remembered is what the file says. */
  forget(): void;
}

interface Remembered {
  readonly keys: KeyIndex;
  readonly streams: Map<string, { readonly id: number; widest: number }>;
  readonly patterns: Map<string, KeyPattern[]>;
}

/** Adds entries to the file, as the only writer it has: counters, streams and patterns are remembered between calls. */
export function createAuditAppender(db: DatabaseSync): AuditAppender {
  const earlierParts = db.prepare(
    'select entry from executions where job = ? and execution = ? and redrive = ? and stream = ? and epoch = ? order by part',
  );
  const addExecution = db.prepare(
    `insert into executions (job, execution, part, stream, epoch, redrive, first, last, rows, worker, started, ended, services, errors, entry)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const addFacet = db.prepare('insert or ignore into facets values (?, ?)');
  const addPattern = db.prepare('insert or ignore into patterns values (?, ?, ?)');
  const addStream = db.prepare('insert into streams (name, widest) values (?, 0)');
  const widenStream = db.prepare('update streams set widest = ? where id = ?');
  let memory = recall(db);

  const streamOf = (name: string): { readonly id: number; widest: number } => {
    const known = memory.streams.get(name);
    if (known !== undefined) return known;
    const stream = { id: Number(addStream.run(name).lastInsertRowid), widest: 0 };
    memory.streams.set(name, stream);
    return stream;
  };

  const addRows = (entry: AuditEntry, json: string, part: number): void => {
    const stream = streamOf(entry.stream);
    const { hashes, first, last, newPatterns } = indexEntry(entry, memory.patterns);
    const { job, execution, epoch, redrive, rows, worker, startedMs, endedMs } = entry;
    const added = addExecution.run(
      job,
      execution,
      part,
      stream.id,
      epoch,
      redrive,
      first,
      last,
      rows.length,
      worker,
      startedMs,
      endedMs,
      JSON.stringify(entry.services),
      JSON.stringify(entry.errors),
      json,
    );
    const id = Number(added.lastInsertRowid);
    for (const facet of facetsOf(entry)) addFacet.run(facet, id);
    for (const { service, pattern } of newPatterns) {
      addPattern.run(service, pattern.prefix, pattern.suffix);
      memory.patterns.set(service, [...(memory.patterns.get(service) ?? []), pattern]);
    }
    if (first !== null && last !== null && last - first > stream.widest) {
      stream.widest = last - first;
      widenStream.run(stream.widest, stream.id);
    }
    memory.keys.add(id, hashes, rows.length);
  };

  return {
    add(entry, json) {
      const { job, execution, redrive, epoch } = entry;
      const earlier = earlierParts.all(job, execution, redrive, streamOf(entry.stream).id, epoch);
      const stored = earlier.flatMap((row) => rowsOf(String(row['entry']), entry.startedMs));
      const rows = newRows(entry.rows, stored);
      if (rows.length === 0) return 0;
      if (rows.length === entry.rows.length) addRows(entry, json, earlier.length);
      else addRows({ ...entry, rows }, JSON.stringify({ ...entry, rows }), earlier.length);
      return rows.length;
    },
    finish: () => memory.keys.finish(),
    forget() {
      memory = recall(db);
    },
  };
}

/**
 * Of an entry this store has checked and kept, if it tells of the execution that began then. After a rollback of Redis a
 * job runs again under the same numbers: that is another execution, and its end is the one that counts.
 */
function rowsOf(json: string, startedMs: number): readonly AuditRow[] {
  const read = readAuditEntry(json);
  return read.kind === 'entry' && read.entry.startedMs === startedMs ? read.entry.rows : [];
}

/** The first row of a message wins, within an entry and over those stored before. */
function newRows(rows: readonly AuditRow[], stored: readonly AuditRow[]): readonly AuditRow[] {
  const positions = new Set(stored.map((row) => row[0]));
  const fresh = rows.filter(([position]) => positions.size < positions.add(position).size);
  return fresh.length === rows.length ? rows : fresh;
}

function facetsOf(entry: AuditEntry): Set<string> {
  const states = new Set(entry.rows.map((row) => row[1]));
  return new Set([
    ...[...states].map((state) => `state:${state}`),
    ...entry.errors.map(({ code }) => `error:${code}`),
    ...entry.services.map((service) => `service:${service}`),
  ]);
}

function recall(db: DatabaseSync): Remembered {
  const streams = db.prepare('select id, name, widest from streams').all();
  const patterns = new Map<string, KeyPattern[]>();
  for (const row of db.prepare('select service, prefix, suffix from patterns').all()) {
    const service = String(row['service']);
    patterns.set(service, [
      ...(patterns.get(service) ?? []),
      { prefix: String(row['prefix']), suffix: String(row['suffix']) },
    ]);
  }
  return {
    keys: openKeyIndex(db),
    streams: new Map(
      streams.map((row) => [String(row['name']), { id: Number(row['id']), widest: Number(row['widest']) }]),
    ),
    patterns,
  };
}
