import type { DatabaseSync } from 'node:sqlite';
import { readAuditEntry } from '../core/audit-records.ts';
import type { AuditEntry, AuditRow } from '../core/trail.ts';
import { indexEntry, type KeyPattern } from './sqlite-audit-index.ts';

/**
 * Postings in one part of the key index. Half a million fit the page cache (32 MB): with one index for all rows the cost
 * of a row grew from 3.3 to 13 µs within four million rows, in parts it stays (ADR 0005).
 */
const SEGMENT_POSTINGS = 500_000;

export interface AuditAppender {
  /** Within a transaction of the caller. Returns the rows added. */
  add(entry: AuditEntry, json: string): number;
  /** Writes the counters; the last thing before the commit. */
  finish(): void;
  /** After a rollback: what is remembered is what the file says. */
  forget(): void;
}

interface Remembered {
  segment: { id: number; postings: number; rows: number };
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
  const addPosting = db.prepare('insert or ignore into postings values (?, ?, ?)');
  const addFacet = db.prepare('insert or ignore into facets values (?, ?)');
  const addPattern = db.prepare('insert or ignore into patterns values (?, ?, ?)');
  const addStream = db.prepare('insert into streams (name, widest) values (?, 0)');
  const widenStream = db.prepare('update streams set widest = ? where id = ?');
  const saveSegment = db.prepare(
    'insert into segments values (?1, ?2, ?3) on conflict (id) do update set postings = ?2, rows = ?3',
  );
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
    addPostings(hashes, id);
    memory.segment.rows += rows.length;
  };

  const addPostings = (hashes: Int32Array, id: number): void => {
    if (memory.segment.postings >= SEGMENT_POSTINGS) {
      finish();
      memory.segment = { id: memory.segment.id + 1, postings: 0, rows: 0 };
    }
    const segment = memory.segment.id;
    let previous: number | undefined;
    for (const hash of hashes) {
      if (hash === previous) continue;
      addPosting.run(segment, hash, id);
      memory.segment.postings += 1;
      previous = hash;
    }
  };

  const finish = (): void => {
    const { id, postings, rows } = memory.segment;
    saveSegment.run(id, postings, rows);
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
    finish,
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
  const segment = db.prepare('select id, postings, rows from segments order by id desc limit 1').get();
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
    segment: {
      id: Number(segment?.['id']),
      postings: Number(segment?.['postings']),
      rows: Number(segment?.['rows']),
    },
    streams: new Map(
      streams.map((row) => [String(row['name']), { id: Number(row['id']), widest: Number(row['widest']) }]),
    ),
    patterns,
  };
}
