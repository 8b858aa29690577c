import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { readAuditEntry, recordsAskedFor } from '../core/audit-records.ts';
import { parseMessageId } from '../core/change.ts';
import type { AuditQuery } from '../core/ports.ts';
import type { AuditRecord } from '../core/trail.ts';
import { hashOf, hashOfMessage, hashOfRecord, numberOf, withoutPart } from './sqlite-audit-index.ts';
import { executionsWith } from './sqlite-audit-keys.ts';

/** Executions that may hold what is asked for, newest first, each once. */
type Candidates = Iterable<number>;

export interface AuditSearch {
  find(query: AuditQuery): AuditRecord[];
  count(): number;
}

/**
 * Finds records: the most selective criterion names executions by an index, newest first; their entries are then read
 * and every row is compared with the whole query, until the limit is reached.
 */
export function createAuditSearch(db: DatabaseSync): AuditSearch {
  const prepared = new Map<string, StatementSync>();
  const all = (sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] => {
    const statement = prepared.get(sql) ?? db.prepare(sql);
    prepared.set(sql, statement);
    return statement.all(...values);
  };
  const idsOf = (sql: string, ...values: SQLInputValue[]): number[] =>
    all(sql, ...values).map((row) => Number(row['id']));

  const byHashes = (hashes: readonly number[]): Candidates => executionsWith(db, hashes);

  const byMessage = (message: string): Candidates => {
    const asked = parseMessageId(message);
    if (asked === undefined) return [];
    const position = numberOf(asked.position);
    if (position === undefined) return byHashes([hashOfMessage(asked.stream, withoutPart(asked.position))]);
    return idsOf(
      `select e.id from streams s join executions e on e.stream = s.id
       where s.name = ?1 and e.first between ?2 - s.widest and ?2 and e.last >= ?2 order by e.id desc`,
      asked.stream,
      position,
    );
  };

  const byRecord = (recordId: string, service: string | undefined): Candidates => {
    const patterns = all(
      'select prefix, suffix from patterns where ?1 is null or service = ?1',
      service ?? null,
    );
    const keys = patterns.map(({ prefix, suffix }) => `${String(prefix)}${recordId}${String(suffix)}`);
    return byHashes([hashOfRecord(recordId), ...keys.map(hashOf)]);
  };

  const byFacet = (facet: string): Candidates =>
    walk(db.prepare('select execution as id from facets where facet = ? order by execution desc'), facet);

  const byTime = ({ sinceMs, untilMs }: AuditQuery): Candidates =>
    sinceMs === undefined && untilMs === undefined
      ? walk(db.prepare('select id from executions order by id desc'))
      : idsOf(
          'select id from executions where ended between ? and ? order by id desc',
          sinceMs ?? -1e15,
          untilMs ?? 1e15,
        );

  const candidates = (query: AuditQuery): Candidates => {
    if (query.message !== undefined) return byMessage(query.message);
    if (query.key !== undefined) return byHashes([hashOf(query.key)]);
    if (query.recordId !== undefined) return byRecord(query.recordId, query.service);
    if (query.job !== undefined)
      return idsOf('select id from executions where job = ? order by id desc', query.job);
    const facet = facetsAskedFor(query)[0];
    return facet === undefined ? byTime(query) : byFacet(facet);
  };

  const hasFacets = (id: number, facets: readonly string[]): boolean =>
    facets.every(
      (facet) => all('select 1 from facets where facet = ? and execution = ?', facet, id).length > 0,
    );

  return {
    find(query) {
      const facets = facetsAskedFor(query);
      const found: AuditRecord[] = [];
      if (query.limit <= 0) return found;
      for (const id of candidates(query)) {
        if (!hasFacets(id, facets)) continue;
        const text = all('select entry from executions where id = ?', id)[0]?.['entry'];
        const read = readAuditEntry(String(text));
        if (read.kind === 'entry') found.push(...recordsAskedFor(read.entry, query).reverse());
        if (found.length >= query.limit) break;
      }
      return found.slice(0, query.limit).reverse();
    },
    count: () => Number(all('select sum(rows) as id from segments')[0]?.['id'] ?? 0),
  };
}

/** The facets a query names, the rarest kind first. */
function facetsAskedFor({ errorCode, state, service }: AuditQuery): string[] {
  return [
    ...(errorCode === undefined ? [] : [`error:${errorCode}`]),
    ...(state === undefined ? [] : [`state:${state}`]),
    ...(service === undefined ? [] : [`service:${service}`]),
  ];
}

/** Row by row: the first few hundred are mostly enough, and there may be millions. */
function* walk(statement: StatementSync, ...values: SQLInputValue[]): Candidates {
  for (const row of statement.iterate(...values)) yield Number(row['id']);
}
