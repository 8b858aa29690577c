import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { adminAnswer, recordsAnswer } from '../../src/server/record-schemas.ts';
import { aConfig, inlineServices, postChanges, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['redis'], 'records over HTTP', () => {
  let source: HttpSource;
  let running: RunningApp;
  const name = uniqueName('records');

  beforeAll(async () => {
    source = await startHttpSource();
    const { url } = await sharedRedis();
    const shop = {
      source: { type: 'http', url: `${source.url}/shops/{id}`, breaker: { failures: 1_000 } },
      version: { from: 'record', field: 'version', kind: 'counter' },
      // Says how messages of others look; an operator's are not of them.
      message: z.looseObject({ changedBy: z.string() }),
    } as const;
    running = await startApp(
      aConfig(url, {
        services: {
          stockService: { ...inlineServices.stockService, key: `${name}:stock:{id}` },
          shopInfoService: { ...shop, key: `${name}:shop:{id}` },
          orderedService: { ...shop, key: `${name}:ordered:{id}`, version: { from: 'offset' } },
        },
      }),
    );
  });
  afterAll(async () => {
    await running.close();
    await source.stop();
  });

  const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${running.url}/v1/records/${path}`, { headers });
  const post = (path: string, body: unknown, type = 'application/json'): Promise<Response> =>
    fetch(`${running.url}/v1/records/${path}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  /** Until the messages of an answer are final; their states by message id. */
  const ends = async (answer: Response): Promise<string[]> => {
    const { messages } = adminAnswer.parse(await answer.json());
    const found = await waitFor(
      async () => {
        const ended = (await running.rows()).filter(({ message }) => messages.includes(message));
        return ended.length >= messages.length ? ended : undefined;
      },
      { what: 'the operator’s messages on record', timeoutMs: 30_000 },
    );
    return found.map(({ state }) => state);
  };

  it('a record comes from its source, then from memory, with its tag, version, age and instance', async () => {
    source.putText('1', '{"id":1,  "version":7}');
    const first = await get('shopInfoService/1');
    expect([first.status, await first.text()]).toEqual([200, '{"id":1,  "version":7}']);
    expect(first.headers.get('x-cache')).toBe('source');
    const second = await get('shopInfoService/1');
    expect(Object.fromEntries(second.headers)).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-cache': 'local',
      'x-version': 'counter:7',
      'x-instance': running.app.parts.instance,
      age: expect.stringMatching(/^\d+$/) as string,
    });
    expect(source.fetches('1')).toBe(1);
  });

  it('a reader that has the record already is told so', async () => {
    source.put('2', { id: 2, version: 1 });
    const etag = (await get('shopInfoService/2')).headers.get('etag') ?? '';
    for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await get('shopInfoService/2', { 'if-none-match': tags });
      expect([tags, answer.status, await answer.text()]).toEqual([tags, 304, '']);
      expect(answer.headers.get('etag')).toBe(etag);
    }
    expect((await get('shopInfoService/2', { 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('an absent record is a problem with what to do, and says that it is known to be absent', async () => {
    const answer = await get('shopInfoService/404');
    expect([answer.status, answer.headers.get('x-cache'), answer.headers.get('content-type')]).toEqual([
      404,
      'negative',
      'application/problem+json; charset=utf-8',
    ]);
    expect(await answer.json()).toMatchObject({ title: 'E_NOT_FOUND', next: expect.any(String) as string });
    await get('shopInfoService/404');
    expect(source.fetches('404')).toBe(1);
  });

  it('a source that is down is a problem of ours, an unknown service one of the request', async () => {
    source.setMode('500', '500');
    const answer = await get('shopInfoService/500');
    expect([answer.status, await answer.json()]).toMatchObject([503, { title: 'E_FETCH_FAILED' }]);
    expect((await get('nobody/1')).status).toBe(404);
    expect((await get(`shopInfoService/${'x'.repeat(90)}${'%C3%A9'.repeat(90)}`)).status).toBe(400);
  });

  it('many are answered at once, in order, byte for byte, each for itself', async () => {
    source.putText('10', '{"version":10,"big":9007199254740993}');
    source.put('11', { version: 11 });
    source.setMode('500', '12');
    await get('shopInfoService/11');
    const answer = await post('shopInfoService', { ids: [10, '11', '12', '13'] });
    const body = await answer.text();
    expect(answer.status).toBe(200);
    expect(body).toContain('"value":{"version":10,"big":9007199254740993}');
    const { records } = recordsAnswer.parse(JSON.parse(body));
    expect(records).toMatchObject([
      { id: '10', cache: 'source', version: 'counter:10' },
      { id: '11', cache: 'local', value: { version: 11 } },
      { id: '12', error: { code: 'E_FETCH_FAILED' } },
      { id: '13', cache: 'negative', value: null },
    ]);
    const etag = (await get('shopInfoService/11')).headers.get('etag');
    expect(records[1]).toMatchObject({ etag });
  });

  it.each([
    ['no JSON', '{'],
    ['no ids', '{}'],
    ['an empty list', { ids: [] }],
    ['a number that is not exact', '{"ids":[9007199254740993]}'],
    ['an empty id', { ids: [''] }],
    ['too many', { ids: Array.from({ length: 1_001 }, (_, id) => id) }],
    ['something nobody knows', { ids: [1], deep: true }],
  ])('refuses %s', async (_, body) => {
    const answer = await post('shopInfoService', body);
    expect([answer.status, await answer.json()]).toMatchObject([400, { title: 'E_REQUEST_INVALID' }]);
  });

  it('a refresh fetches again by the way of all messages, and its reason stands in the trail', async () => {
    source.put('20', { id: 20, version: 1 });
    await get('shopInfoService/20');
    source.put('20', { id: 20, version: 2 });
    const answer = await post('shopInfoService/refresh', { ids: ['20'], reason: 'prices were wrong!' });
    expect(answer.status).toBe(202);
    expect(await ends(answer)).toEqual(['redisCached']);
    const fresh = await get('shopInfoService/20');
    expect([await fresh.json(), fresh.headers.get('x-cache')]).toEqual([{ id: 20, version: 2 }, 'local']);
    const trail = await fetch(`${running.url}/v1/trail?service=shopInfoService&id=20`);
    expect(await trail.json()).toMatchObject({
      trail: [{ message: expect.stringMatching(/^admin:prices-were-wrong@/) as string }],
    });
  });

  it('an evict takes records out as a delete does, also where versions are offsets', async () => {
    await postChanges(running.url, JSON.stringify({ serviceId: 'stockService', id: 30, version: 3 }));
    await waitFor(async () => (await get('stockService/30')).status === 200, { what: 'the record' });
    expect(await ends(await post('stockService/evict', { ids: [30] }))).toEqual(['evicted']);
    expect((await get('stockService/30')).status).toBe(404);
    expect(await ends(await post('orderedService/evict', { ids: ['1'] }))).toEqual(['evicted']);
    await postChanges(running.url, JSON.stringify({ serviceId: 'stockService', id: 30, version: 4 }));
    await waitFor(async () => (await get('stockService/30')).status === 200, { what: 'a newer version' });
  });

  it('refuses a refresh of what cannot be read by itself, and does nothing', async () => {
    for (const service of ['stockService', 'orderedService']) {
      const answer = await post(`${service}/refresh`, { ids: [1] });
      expect([answer.status, await answer.json()]).toMatchObject([400, { title: 'E_NOT_REFRESHABLE' }]);
    }
    expect((await post('nobody/refresh', { ids: [1] })).status).toBe(404);
    expect((await post('shopInfoService/evict', { ids: [1] }, 'text/plain')).status).toBe(400);
  });
});
