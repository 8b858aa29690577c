import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { requestsFor } from '../support/calls.ts';
import {
  codeOf,
  codes,
  fetchIds,
  json,
  messageOf,
  never,
  scripted,
  type Settings,
  shops,
  sourceAt,
} from '../support/http-records.ts';
import type { FetchOutcome } from '../../src/core/ports.ts';

describe('what a source answers', () => {
  const answered = async (
    body: string | Buffer,
    http: Settings['http'] = {},
    headers = {},
  ): Promise<FetchOutcome> => {
    const { url } = await scripted((_, response) => json(response, body, headers));
    const [outcome] = await fetchIds(sourceAt(url, { http }), '1');
    return outcome ?? { kind: 'absent' };
  };

  it('is a record by its exact text, without the space around it', async () => {
    expect(await answered('\n {"a" : 1.10}\r\n')).toEqual({ kind: 'record', text: '{"a" : 1.10}' });
    expect(await answered('\ufeff{"a":1}')).toEqual({ kind: 'record', text: '{"a":1}' });
    expect(await answered('{"ok":true,"data":[{"v":9007199254740993}]}', { item: '/data/0' })).toEqual({
      kind: 'record',
      text: '{"v":9007199254740993}',
    });
  });

  it('is nothing usable when it is empty, null, compressed, not UTF-8, or lacks the item', async () => {
    expect(codeOf(await answered(''))).toBe('E_FETCH_NOT_JSON');
    expect(codeOf(await answered('null'))).toBe('E_RECORD_INVALID');
    expect(codeOf(await answered('{"data":null}', { item: '/data' }))).toBe('E_RECORD_INVALID');
    expect(codeOf(await answered('{"error":"no"}', { item: '/data' }))).toBe('E_RECORD_INVALID');
    expect(messageOf(await answered(gzipSync('{}'), {}, { 'content-encoding': 'gzip' }))).toMatch(
      /compressed/,
    );
    expect(messageOf(await answered(Buffer.from('{"name":"Z\xfcrich"}', 'latin1')))).toMatch(/UTF-8/);
  });

  it.each([401, 403, 409, 418, 429, 502, 503])(
    'with status %i is a failure that names it',
    async (status) => {
      const { url } = await scripted((_, response) => void response.writeHead(status).end('{"id":"1"}'));
      const [outcome] = await fetchIds(sourceAt(url), '1');
      expect(messageOf(outcome)).toContain(`HTTP ${status}`);
      expect(outcome?.kind === 'failed' && outcome.error.details['outage'] === true).toBe(status >= 500);
    },
  );
});

describe('a batch', () => {
  const batched = async (body: string, ids: readonly string[], batch: Settings['batch'] = {}) => {
    const asked: string[] = [];
    const { url } = await scripted((request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.includes('ids=') === true) json(response, body);
      else response.writeHead(404).end();
    });
    return { outcomes: await fetchIds(sourceAt(url, { batch }), ...ids), asked };
  };

  it('is joined by id, whether numbers or texts, in any order, at any depth, from a list or an object', async () => {
    const big = '{"meta":{"id":9007199254740993},"v":1.0}';
    const small = '{"meta":{"id":"7"}}';
    for (const items of [`[${big},${small}]`, `{"x":${small},"1":${big}}`]) {
      const { outcomes } = await batched(`{"data":{"list":${items}}}`, ['7', '9007199254740993'], {
        items: '/data/list',
        id: '/meta/id',
      });
      expect(outcomes).toEqual([
        { kind: 'record', text: small },
        { kind: 'record', text: big },
      ]);
    }
  });

  it('does not choose between two items of one id, unless they are the same', async () => {
    const { outcomes } = await batched('{"data":[{"id":"1","v":1},{"id":"2"},{"id":"1","v":2},{"id":"2"}]}', [
      '1',
      '2',
    ]);
    expect(codes(outcomes)).toEqual(['E_RECORD_INVALID', 'record']);
    expect(messageOf(outcomes[0])).toMatch(/comes twice/);
  });

  it('fails when its list is not where it should be', async () => {
    for (const body of ['{"error":"no"}', '{"data":"none"}', '{"data":null}', '[]']) {
      const { outcomes } = await batched(body, ['1', '2'], { missing: 'absent' });
      expect(codes(outcomes)).toEqual(['E_FETCH_ITEM_UNKNOWN', 'E_FETCH_ITEM_UNKNOWN']);
    }
  });

  it.each([
    ['a foreign id', '{"data":[{"id":"1"},{"id":"02"}]}'],
    ['an item without id', '{"data":[{"id":"1"},{"name":"two"}]}'],
    ['an item that is null', '{"data":[{"id":"1"},null]}'],
  ])('with %s proves nothing about an id that is missing from it: that is asked singly', async (_, body) => {
    const { outcomes, asked } = await batched(body, ['1', '2'], { missing: 'absent' });
    expect(codes(outcomes)).toEqual(['record', 'absent']);
    expect(asked).toEqual(['/shops?ids=1,2', '/shops/2']);
  });

  it.each([400, 413, 414, 422])('refused with %i for one of its ids is asked singly', async (status) => {
    const { url } = await scripted((request, response) => {
      if (request.url?.includes('ids=') === true || request.url === '/shops/bad')
        response.writeHead(status).end();
      else json(response, '{"id":"good"}');
    });
    const outcomes = await fetchIds(sourceAt(url, { batch: {} }), 'good', 'bad', 'fine');
    expect(codes(outcomes)).toEqual(['record', 'E_FETCH_FAILED', 'record']);
  });

  it('is cut at the most ids that a request may have', async () => {
    const origin = await shops(250);
    const outcomes = await sourceAt(origin.url, { batch: {} }).fetchMany(requestsFor(250), never);
    expect(new Set(codes(outcomes))).toEqual(new Set(['record']));
    expect(origin.requests()).toBe(3);
  });

  it('never holds an id with a comma', async () => {
    const { asked } = await batched('{"data":[]}', ['1', '2,3', '4']);
    expect(asked.filter((url) => url.includes('ids='))).toEqual(['/shops?ids=1,4']);
    expect(asked).toContain('/shops/2%2C3');
  });
});
