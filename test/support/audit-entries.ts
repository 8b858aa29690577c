import type { OutboxEntry } from '../../src/core/ports.ts';
import { AUDIT_FORMAT, type AuditEntry, type AuditRow, type TrailStep } from '../../src/core/trail.ts';

export const STARTED_MS = Date.UTC(2026, 0, 31, 10);

export function auditStep(
  from: string,
  effect: string,
  event: string,
  to: string,
  more: Partial<TrailStep> = {},
): TrailStep {
  return { from, effect, event, to, atMs: STARTED_MS, durationMs: 1.25, size: 1, ...more };
}

export const HAPPY_TRAIL: readonly TrailStep[] = [
  auditStep('received', 'parse', 'parsed', 'parsed'),
  auditStep('parsed', 'fetch', 'fetched', 'fetched'),
  auditStep('fetched', 'storeLocal', 'storedLocally', 'localCached'),
  auditStep('localCached', 'storeRedis', 'storedInRedis', 'redisCached'),
];

/** A row of `productInfoService`; fields by name instead of by place. */
export function auditRow(
  position: number | string,
  more: Partial<{
    state: string;
    service: number;
    recordId: string;
    key: string;
    attempts: number;
    error: number;
    supersededBy: string;
    dueMs: number;
    note: string;
  }> = {},
): AuditRow {
  const { state = 'redisCached', service = 0, recordId = '200', key = `product_info_${recordId}` } = more;
  const { attempts = 0, error = -1, supersededBy = '', dueMs = 0, note = '' } = more;
  return [
    String(position),
    state,
    0,
    service,
    recordId,
    key,
    'time:1769853600000000000',
    attempts,
    error,
    supersededBy,
    dueMs,
    note,
  ];
}

export function auditEntry(rows: readonly AuditRow[], more: Partial<AuditEntry> = {}): AuditEntry {
  return {
    format: AUDIT_FORMAT,
    job: `cachewright.cache-message.0.0.${rows[0]?.[0] ?? ''}`,
    execution: 1,
    worker: 'worker-a',
    stream: 'cache-message-0',
    epoch: 0,
    redrive: 0,
    startedMs: STARTED_MS,
    endedMs: STARTED_MS + 9.1,
    services: ['productInfoService'],
    trails: [HAPPY_TRAIL],
    errors: [],
    rows,
    ...more,
  };
}

/** Entries as the outbox hands them out, with ids from 1-0 on. */
export function outboxOf(...entries: readonly (AuditEntry | string)[]): OutboxEntry[] {
  return entries.map((entry, index) => ({
    id: `${index + 1}-0`,
    json: typeof entry === 'string' ? entry : JSON.stringify(entry),
  }));
}

/** Entry number `index` of a long run: `size` messages of many keys. */
export function chunkEntry(index: number, size: number): AuditEntry {
  const rows = Array.from({ length: size }, (_, place) => {
    const position = index * size + place;
    return auditRow(position, { recordId: String((position * 7919) % 20_000) });
  });
  return auditEntry(rows, {
    job: `cachewright.cache-message.0.0.${index * size}-${index * size + size - 1}`,
  });
}
