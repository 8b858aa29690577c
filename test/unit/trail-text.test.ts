import { describe, expect, it } from 'vitest';
import { formatTrail } from '../../src/audit/trail-text.ts';
import { auditRecordOf } from '../../src/core/audit-records.ts';
import type { AuditEntry, AuditRecord, AuditRow } from '../../src/core/trail.ts';
import { auditEntry, auditRow, auditStep, STARTED_MS } from '../support/audit-entries.ts';

function record(row: AuditRow, more: Partial<AuditEntry> = {}): AuditRecord {
  return auditRecordOf(auditEntry([row], more), row);
}

describe('a trail as text', () => {
  it('shows each step with its time, its duration and the states it led from and to', () => {
    expect(formatTrail([record(auditRow(17))])).toBe(
      [
        'cache-message-0@17 · productInfoService 200 · key product_info_200',
        '  execution 1 · worker worker-a · job cachewright.cache-message.0.0.17',
        '    2026-01-31T10:00:00.000Z    1.25 ms  received → parsed            parse: parsed',
        '    2026-01-31T10:00:00.000Z    1.25 ms  parsed → fetched             fetch: fetched',
        '    2026-01-31T10:00:00.000Z    1.25 ms  fetched → localCached        storeLocal: storedLocally',
        '    2026-01-31T10:00:00.000Z    1.25 ms  localCached → redisCached    storeRedis: storedInRedis',
        '    ended redisCached after 9.10 ms · version time:1769853600000000000',
      ].join('\n'),
    );
  });

  it('marks times that are those of a group', () => {
    const trails = [[auditStep('received', 'parse', 'parsed', 'parsed', { size: 500 })]];
    expect(formatTrail([record(auditRow(17), { trails })])).toContain(
      'parse: parsed (time of a group of 500)',
    );
  });

  it('tells what a waiting message waits for, how often it failed, and what to do', () => {
    const errors = [{ code: 'E_FETCH_FAILED', message: 'The source of shopInfoService failed: 500.' }];
    const row = auditRow(17, { state: 'parsed', attempts: 2, error: 0, dueMs: STARTED_MS + 4_000 });
    const text = formatTrail([record(row, { errors })]);
    expect(text).toContain('waits in parsed until 2026-01-31T10:00:04.000Z');
    expect(text).toContain('2 failed attempts');
    expect(text).toContain(
      'E_FETCH_FAILED: The source of shopInfoService failed: 500. Look at the source; the run is retried.',
    );
  });

  it('says the next step once when the recorded message has it', () => {
    const next = 'Look at the source; the run is retried.';
    const errors = [{ code: 'E_FETCH_FAILED', message: `Failed. ${next}` }];
    expect(formatTrail([record(auditRow(17, { error: 0 }), { errors })]).split(next)).toHaveLength(2);
  });

  it('shows an error that this version does not know', () => {
    const errors = [{ code: 'E_OF_TOMORROW', message: 'Something new.' }];
    expect(formatTrail([record(auditRow(17, { error: 0 }), { errors })])).toContain(
      'E_OF_TOMORROW: Something new.',
    );
  });

  it('names the message that won', () => {
    const row = auditRow(17, { state: 'superseded', supersededBy: 'cache-message-0@18' });
    expect(formatTrail([record(row)])).toContain(
      'ended superseded after 9.10 ms · version time:1769853600000000000 · superseded by cache-message-0@18',
    );
  });

  it('puts the executions of a message together, also one that died before it knew the key', () => {
    const lost = auditRow(17, {
      state: 'lost',
      service: -1,
      recordId: '',
      key: '',
      note: 'lost with worker b in fetched',
    });
    const text = formatTrail([
      record(lost, { worker: 'b', services: [], trails: [] }),
      record(auditRow(18, { recordId: '300' })),
      record(auditRow(17), { execution: 2 }),
    ]);
    const [first = '', second = '', ...rest] = text.split('\n\n');
    expect(rest).toEqual([]);
    expect(first.split('\n').slice(0, 5)).toEqual([
      'cache-message-0@17 · productInfoService 200 · key product_info_200',
      '  execution 1 · worker b · job cachewright.cache-message.0.0.17',
      expect.stringContaining('lost: this execution died before it closed'),
      '    note: lost with worker b in fetched',
      '  execution 2 · worker worker-a · job cachewright.cache-message.0.0.17',
    ]);
    expect(second).toContain('cache-message-0@18');
  });

  it('keeps epochs and redrives of a message apart and names them', () => {
    const text = formatTrail([
      record(auditRow(17)),
      record(auditRow(17), { epoch: 1 }),
      record(auditRow(17), { redrive: 2 }),
    ]);
    expect(text.split('\n\n').map((block) => block.split('\n')[0])).toEqual([
      'cache-message-0@17 · productInfoService 200 · key product_info_200',
      'cache-message-0@17 · epoch 1 · productInfoService 200 · key product_info_200',
      'cache-message-0@17 · redrive 2 · productInfoService 200 · key product_info_200',
    ]);
  });

  it('writes long durations in seconds and lets no control character through', () => {
    const trails = [[auditStep('parsed', 'fetch', 'fetched', 'fetched', { durationMs: 12_345 })]];
    const text = formatTrail([record(auditRow(17, { recordId: 'a\u001b[31m', key: 'k\r\n' }), { trails })]);
    expect(text).toContain('12.3 s');
    expect(text).toContain('a\\u{1b}[31m');
    expect(text).toContain('key k\\u{d}\\u{a}');
  });

  it('is empty without records', () => {
    expect(formatTrail([])).toBe('');
  });
});
