import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AuditDefect, AuditQuery, AuditStore } from '../../src/core/ports.ts';
import {
  auditEntry,
  auditRow,
  chunkEntry,
  HAPPY_TRAIL,
  outboxOf,
  STARTED_MS,
} from '../support/audit-entries.ts';

/** What every audit store promises; called once per adapter. */
export function auditStoreSuite(
  name: string,
  open: (onDefect: (defect: AuditDefect) => void) => AuditStore | Promise<AuditStore>,
): void {
  describe(`audit store: ${name}`, () => {
    let store: AuditStore;
    let defects: AuditDefect[] = [];
    beforeEach(async () => {
      defects = [];
      store = await open((defect) => defects.push(defect));
    });
    afterEach(() => store.close());

    const messages = async (query: Partial<AuditQuery>): Promise<string[]> =>
      (await store.find({ limit: 100, ...query })).map((record) => record.message);

    describe('rows', () => {
      it('hands out what an execution recorded, as it was recorded', async () => {
        const row = auditRow(17, { attempts: 2, note: 'tie', supersededBy: '' });
        expect(await store.append('box', outboxOf(auditEntry([row])))).toBe(1);
        expect(await store.find({ key: 'product_info_200', limit: 10 })).toEqual([
          {
            message: 'cache-message-0@17',
            stream: 'cache-message-0',
            epoch: 0,
            redrive: 0,
            job: 'cachewright.cache-message.0.0.17',
            execution: 1,
            worker: 'worker-a',
            service: 'productInfoService',
            recordId: '200',
            key: 'product_info_200',
            version: 'time:1769853600000000000',
            state: 'redisCached',
            attempts: 2,
            error: null,
            supersededBy: '',
            dueMs: 0,
            note: 'tie',
            startedMs: STARTED_MS,
            endedMs: STARTED_MS + 9.1,
            steps: HAPPY_TRAIL,
          },
        ]);
      });

      it('adds one row per message and execution, however often an entry comes', async () => {
        const entries = outboxOf(chunkEntry(0, 50), chunkEntry(1, 50));
        expect(await store.append('box', entries)).toBe(100);
        expect(await store.append('box', entries)).toBe(0);
        expect(await store.append('other box', entries)).toBe(0);
        expect(await store.count()).toBe(100);
      });

      it('keeps the first row of a message and execution', async () => {
        await store.append('box', outboxOf(auditEntry([auditRow(1, { note: 'first' })])));
        await store.append('box', outboxOf(auditEntry([auditRow(1, { note: 'second' })])));
        expect((await store.find({ limit: 10 })).map((record) => record.note)).toEqual(['first']);
      });

      it('keeps what a job did when it ran once more under the same number, after a rollback of Redis', async () => {
        const before = auditEntry([auditRow(1, { state: 'parsed', dueMs: 5 })]);
        const after = auditEntry([auditRow(1)], {
          startedMs: before.startedMs + 9,
          endedMs: before.endedMs + 9,
        });
        expect(await store.append('box', outboxOf(before))).toBe(1);
        expect(await store.append('box', outboxOf(after))).toBe(1);
        expect(await store.append('box', outboxOf(before, after))).toBe(0);
        const found = await store.find({ message: 'cache-message-0@1', limit: 10 });
        expect(found.map(({ state }) => state)).toEqual(['parsed', 'redisCached']);
      });

      it('keeps the first row of a message that stands twice in one entry', async () => {
        const rows = [auditRow(1, { note: 'first' }), auditRow(2), auditRow(1, { note: 'second' })];
        expect(await store.append('box', outboxOf(auditEntry(rows)))).toBe(2);
        expect(
          (await store.find({ message: 'cache-message-0@1', limit: 10 })).map((record) => record.note),
        ).toEqual(['first']);
      });

      it('adds the rows of an execution that an earlier entry of it did not have', async () => {
        await store.append('box', outboxOf(auditEntry([auditRow(1), auditRow(2)])));
        const more = auditEntry([auditRow(1), auditRow(2), auditRow(3)]);
        expect(await store.append('box', outboxOf(more))).toBe(1);
        expect(await store.append('box', outboxOf(more))).toBe(0);
        expect(await messages({})).toEqual(['cache-message-0@1', 'cache-message-0@2', 'cache-message-0@3']);
        expect(await store.count()).toBe(3);
      });

      it('tells executions, redrives, epochs, jobs, streams and parts apart', async () => {
        const rows = [auditRow(1), auditRow('1#1')];
        const more = [
          {},
          { execution: 2 },
          { redrive: 1 },
          { epoch: 1 },
          { job: 'another' },
          { stream: 'cache-message-1' },
        ];
        await store.append('box', outboxOf(...more.map((differs) => auditEntry(rows, differs))));
        expect(await store.count()).toBe(12);
      });

      it('counts nothing at first and finds nothing', async () => {
        expect(await store.count()).toBe(0);
        expect(await store.find({ limit: 10 })).toEqual([]);
      });
    });

    describe('outbox', () => {
      it('remembers per outbox the last id it stored', async () => {
        expect(await store.cursor('box')).toBe('0-0');
        await store.append('box', [{ id: '1700000000000-3', json: JSON.stringify(chunkEntry(0, 1)) }]);
        expect(await store.cursor('box')).toBe('1700000000000-3');
        expect(await store.cursor('other')).toBe('0-0');
      });

      it('stores entries whose ids went back after a rollback of Redis', async () => {
        await store.append('box', [{ id: '1700000000000-3', json: JSON.stringify(chunkEntry(0, 1)) }]);
        expect(
          await store.append('box', [{ id: '1600000000000-0', json: JSON.stringify(chunkEntry(1, 1)) }]),
        ).toBe(1);
        expect(await store.cursor('box')).toBe('1600000000000-0');
      });

      it('stops before an entry of a newer format and says so, and goes on when the entry can be read', async () => {
        const newer = JSON.stringify({ ...chunkEntry(1, 1), format: 2 });
        const entries = outboxOf(chunkEntry(0, 1), newer, chunkEntry(2, 1));
        expect(await store.append('box', entries)).toBe(1);
        expect(await store.cursor('box')).toBe('1-0');
        await expect(store.append('box', entries.slice(1))).rejects.toMatchObject({ code: 'E_FORMAT_NEWER' });
        expect(await store.cursor('box')).toBe('1-0');
        expect(await store.count()).toBe(1);
      });

      it.each([
        ['broken JSON', '{"format":1,'],
        ['no text at all', ''],
        ['another value', '[1]'],
        ['no format', '{}'],
        ['no rows', JSON.stringify({ ...chunkEntry(1, 1), rows: 7 })],
        ['a row too short', JSON.stringify({ ...chunkEntry(1, 1), rows: [['17']] })],
        ['no job', JSON.stringify({ ...chunkEntry(1, 1), job: 7 })],
        ['an execution that is no number', JSON.stringify({ ...chunkEntry(1, 1), execution: '1' })],
      ])('tells of an entry with %s and stores those around it', async (_, broken) => {
        expect(await store.append('box', outboxOf(chunkEntry(0, 1), broken, chunkEntry(2, 1)))).toBe(2);
        expect(defects).toEqual([{ outbox: 'box', id: '2-0', reason: expect.any(String) }]);
        expect(await store.cursor('box')).toBe('3-0');
      });
    });

    describe('questions', () => {
      beforeEach(async () => {
        const failed = { code: 'E_FETCH_FAILED', message: 'The source failed.' };
        const retried = auditEntry(
          [
            auditRow(2, {
              recordId: '300',
              state: 'parsed',
              attempts: 1,
              error: 0,
              dueMs: STARTED_MS + 5_000,
            }),
          ],
          {
            errors: [failed],
            job: 'b',
            endedMs: STARTED_MS + 1_000,
          },
        );
        const again = auditEntry([auditRow(2, { recordId: '300', attempts: 1 })], {
          job: 'b',
          execution: 2,
          endedMs: STARTED_MS + 6_000,
        });
        const shops = auditEntry(
          [
            auditRow(5, {
              service: 1,
              recordId: '300',
              key: 'shop_info_300',
              state: 'superseded',
              supersededBy: 'cache-message-0@6',
            }),
            auditRow(6, { service: 1, recordId: '300', key: 'shop_info_300' }),
          ],
          { services: ['productInfoService', 'shopInfoService'], job: 'c', endedMs: STARTED_MS + 7_000 },
        );
        const posted = auditEntry(
          [
            auditRow('01KGA8Z7', { recordId: 'a/b', key: 'product_info_a%2Fb' }),
            auditRow('01KGA8Z8', { service: -1, recordId: '', key: '', state: 'rejected', error: 0 }),
          ],
          {
            stream: 'http',
            errors: [{ code: 'E_MESSAGE_NOT_JSON', message: 'No.' }],
            job: 'd',
            endedMs: STARTED_MS + 8_000,
          },
        );
        const parts = auditEntry([auditRow(7, { recordId: '7' }), auditRow('7#1', { recordId: '8' })], {
          job: 'e',
          endedMs: STARTED_MS + 9_000,
        });
        const lost = auditEntry([auditRow(17, { service: -1, recordId: '', key: '', state: 'lost' })], {
          services: [],
          job: 'f',
          endedMs: STARTED_MS + 10_000,
        });
        await store.append('box', outboxOf(retried, again, shops, posted, parts, lost));
      });

      it.each<[string, Partial<AuditQuery>, readonly string[]]>([
        ['a key', { key: 'product_info_300' }, ['cache-message-0@2', 'cache-message-0@2']],
        [
          'a record of a service',
          { service: 'shopInfoService', recordId: '300' },
          ['cache-message-0@5', 'cache-message-0@6'],
        ],
        [
          'a record whose key spells its id differently',
          { service: 'productInfoService', recordId: 'a/b' },
          ['http@01KGA8Z7'],
        ],
        [
          'a record of any service',
          { recordId: '300' },
          ['cache-message-0@2', 'cache-message-0@2', 'cache-message-0@5', 'cache-message-0@6'],
        ],
        ['a service', { service: 'shopInfoService' }, ['cache-message-0@5', 'cache-message-0@6']],
        ['a message', { message: 'cache-message-0@6' }, ['cache-message-0@6']],
        ['a message whose position is no number', { message: 'http@01KGA8Z8' }, ['http@01KGA8Z8']],
        [
          'a message with its parts',
          { message: 'cache-message-0@7' },
          ['cache-message-0@7', 'cache-message-0@7#1'],
        ],
        ['one part of a message', { message: 'cache-message-0@7#1' }, ['cache-message-0@7#1']],
        ['a job', { job: 'b' }, ['cache-message-0@2', 'cache-message-0@2']],
        ['a state', { state: 'superseded' }, ['cache-message-0@5']],
        ['what was lost', { state: 'lost' }, ['cache-message-0@17']],
        ['an error code', { errorCode: 'E_FETCH_FAILED' }, ['cache-message-0@2']],
        [
          'a state and a service',
          { state: 'redisCached', service: 'shopInfoService' },
          ['cache-message-0@6'],
        ],
        [
          'a time',
          { sinceMs: STARTED_MS + 6_500, untilMs: STARTED_MS + 7_500 },
          ['cache-message-0@5', 'cache-message-0@6'],
        ],
        ['a key and a time', { key: 'product_info_300', sinceMs: STARTED_MS + 2_000 }, ['cache-message-0@2']],
        ['the newest, oldest first', { limit: 2 }, ['cache-message-0@7#1', 'cache-message-0@17']],
        ['a key, the newest only', { recordId: '300', limit: 2 }, ['cache-message-0@5', 'cache-message-0@6']],
        ['nothing at all', { limit: 0 }, []],
        ['a key that is not there', { key: 'product_info_1' }, []],
        ['a service that is not there', { service: 'stockService', recordId: '300' }, []],
        ['a stream that is not there', { message: 'cache-message-9@2' }, []],
        ['what is no message id', { message: 'nonsense' }, []],
      ])('are answered by %s', async (_, query, expected) => {
        expect(await messages(query)).toEqual(expected);
      });
    });
  });
}
