import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import type { Service } from '../../src/core/service.ts';
import { describeWith } from '../support/needs.ts';
import { aMessage, type Pipeline, startPipeline } from '../support/pipeline.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';
import { SECRET, shopService } from '../support/shop-service.ts';

/*
 * Configured sources behind the real pipeline: what reaches Redis, what stays, and what a run is charged for. How each
 * adapter reads its answers is told in the contract suite.
 */

describeWith(['redis'], 'a fetched service in the pipeline', () => {
  let shops: HttpSource;
  let pipeline: Pipeline;
  let position = 0;

  beforeEach(async () => {
    shops = await startHttpSource({ slowMs: 5_000 });
  });
  afterEach(async () => {
    await pipeline.close();
    await shops.stop();
  });

  const change = (service: Service, id: string, more: object = {}) =>
    aMessage((position += 1), { serviceId: service.id, id, ...more });
  const ended = (job: string): Promise<unknown> =>
    waitFor(async () => (await pipeline.queue.getJobState(job)) === 'completed', {
      what: `${job} to end`,
      timeoutMs: 20_000,
    });
  const stored = (service: Service, id: string): Promise<string | null> =>
    pipeline.redis.get(service.keyOf(id));
  /** The codes an id's executions ended with, oldest first; '' for none. */
  const errorsOf = async (id: string): Promise<string[]> =>
    (await pipeline.audit()).flatMap(({ rows, errors }) =>
      rows.filter((row) => row[4] === id).map((row) => errors[row[8] ?? -1]?.code ?? ''),
    );
  const lastRow = async (id: string): Promise<{ state: string; attempts: number }> => {
    const row = (await pipeline.audit()).flatMap(({ rows }) => rows.filter((each) => each[4] === id)).at(-1);
    return { state: row?.[1] ?? '', attempts: row === undefined ? Number.NaN : (row[7] ?? 0) };
  };

  it('stores records byte for byte, under ids that are told apart beyond 2^53', async () => {
    const service = shopService('shops', shops.url);
    const texts = {
      '9007199254740992': '{ "id":9007199254740992, "version": 1,  "price":1.10 }',
      '9007199254740993': '{"id":9007199254740993,"version":18446744073709551617,"name":"\\u00e9 é"}',
    };
    for (const [id, text] of Object.entries(texts)) shops.putText(id, text);
    pipeline = await startPipeline({ services: [service] });
    const raw = Object.keys(texts).map((id) => `{"serviceId":"shops","id":${id}}`);
    await pipeline.add(
      'exact',
      raw.map((text) => aMessage((position += 1), text)),
    );
    await ended('exact');
    for (const [id, text] of Object.entries(texts)) expect(await stored(service, id)).toBe(text);
  });

  it('keeps what is cached when the source says 200 and sends an error', async () => {
    const record = { type: 'object', required: ['id', 'version'], properties: { id: { type: 'string' } } };
    const service = shopService('shops', shops.url, { service: { record } });
    shops.put('1', { id: '1', version: 1 });
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add('first', [change(service, '1')]);
    await ended('first');

    shops.putText('1', '{"error":"try again later"}');
    await pipeline.add('second', [change(service, '1')]);
    await waitFor(async () => (await errorsOf('1')).includes('E_RECORD_INVALID'), { what: 'the refusal' });
    expect(await stored(service, '1')).toBe('{"id":"1","version":1}');
    expect((await pipeline.localTier.get(service.keyOf('1')))?.text).toBe('{"id":"1","version":1}');

    shops.put('1', { id: '1', version: 2 });
    await ended('second');
    expect(await stored(service, '1')).toBe('{"id":"1","version":2}');
  });

  it('evicts nothing when most records are gone at once, and asks again', async () => {
    const service = shopService('shops', shops.url);
    const ids = Array.from({ length: 30 }, (_, index) => String(100 + index));
    for (const id of ids) shops.put(id, { id, version: 1 });
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add(
      'all',
      ids.map((id) => change(service, id)),
    );
    await ended('all');

    const gone = ids.slice(0, 20);
    for (const id of gone) shops.delete(id);
    await pipeline.add(
      'again',
      ids.map((id) => change(service, id)),
    );
    await waitFor(async () => (await errorsOf('100')).includes('E_SUSPICIOUS_ABSENCE'), {
      what: 'suspicion',
    });
    for (const id of gone) expect(await stored(service, id)).toBe(`{"id":"${id}","version":1}`);
    expect((await lastRow('129')).state).toBe('redisCached');

    for (const id of gone) shops.put(id, { id, version: 2 });
    await ended('again');
    for (const id of gone) expect(await stored(service, id)).toBe(`{"id":"${id}","version":2}`);
  });

  it('evicts a record that is gone by itself', async () => {
    const service = shopService('shops', shops.url);
    shops.put('1', { id: '1', version: 1 });
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add('there', [change(service, '1')]);
    await ended('there');
    shops.delete('1');
    await pipeline.add('gone', [change(service, '1')]);
    await ended('gone');
    expect((await lastRow('1')).state).toBe('evicted');
    expect(await stored(service, '1')).toBeNull();
  });

  it('does not write what a source that is behind has, but waits for it', async () => {
    const service = shopService('shops', shops.url);
    shops.put('1', { id: '1', version: 4 });
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add('behind', [change(service, '1', { version: 5 })]);
    await waitFor(async () => (await errorsOf('1')).includes('E_SOURCE_BEHIND'), { what: 'the refusal' });
    expect(await stored(service, '1')).toBeNull();
    shops.put('1', { id: '1', version: 5 });
    await ended('behind');
    expect(await stored(service, '1')).toBe('{"id":"1","version":5}');
  });

  it('is not held up by a slow or a broken neighbour in the same chunk', async () => {
    const others = await startHttpSource();
    onTestFinished(() => others.stop());
    others.setMode('500');
    const slow = shopService('slow', shops.url);
    const broken = shopService('broken', others.url, { service: { retry: { attempts: 1 } } });
    const quick = await startHttpSource();
    onTestFinished(() => quick.stop());
    const well = shopService('well', quick.url);
    shops.setMode('slow');
    shops.put('1', { id: '1', version: 1 });
    quick.put('1', { id: '1', version: 1 });
    pipeline = await startPipeline({ services: [slow, broken, well] });
    await pipeline.add('mixed', [change(slow, '1'), change(broken, '1'), change(well, '1')]);
    await waitFor(async () => (await stored(well, '1')) !== null, {
      what: 'the quick one',
      timeoutMs: 4_000,
    });
    // The slow source has the other call in hand and will answer seconds later.
    expect(shops.requests()).toBe(1);
    expect(await stored(slow, '1')).toBeNull();
    await ended('mixed');
    expect(await stored(slow, '1')).not.toBeNull();
    expect((await pipeline.deadLetters()).map(({ service }) => service)).toEqual(['broken']);
  });

  it('uses no attempts while the breaker is open, and shows its secrets nowhere', async () => {
    const breaker = { failures: 1, halfOpenAfterMs: 1_500 };
    const service = shopService('shops', shops.url, {
      source: { breaker },
      service: { retry: { attempts: 2 } },
    });
    for (const id of ['1', '2']) shops.put(id, { id, version: 1 });
    shops.setMode('500');
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add('opens', [change(service, '1')]);
    await waitFor(async () => (await errorsOf('1')).length > 0, { what: 'the first failure' });
    await pipeline.add('finds it open', [change(service, '2')]);
    await waitFor(async () => (await errorsOf('2')).length > 0, { what: 'the open breaker' });
    expect(shops.requests()).toBe(1);
    shops.setMode('ok');
    await ended('opens');
    await ended('finds it open');
    expect(await errorsOf('2')).toContain('E_SOURCE_OPEN');
    expect(await lastRow('1')).toEqual({ state: 'redisCached', attempts: 1 });
    expect(await lastRow('2')).toEqual({ state: 'redisCached', attempts: 0 });
    const written = JSON.stringify([await pipeline.audit(), await pipeline.deadLetters()]);
    expect(written).not.toContain(SECRET);
  });

  it('uses no attempts for trials that find the source still out, however many', async () => {
    const service = shopService('shops', shops.url, {
      source: { breaker: { failures: 1, halfOpenAfterMs: 200 } },
      service: { retry: { attempts: 2 } },
    });
    shops.put('1', { id: '1', version: 1 });
    shops.setMode('500');
    pipeline = await startPipeline({ services: [service] });
    await pipeline.add('opens', [change(service, '1')]);
    await waitFor(() => shops.requests() >= 4, { what: 'three trials', timeoutMs: 20_000 });
    shops.setMode('ok');
    await ended('opens');
    expect(await lastRow('1')).toEqual({ state: 'redisCached', attempts: 1 });
    const errors = await errorsOf('1');
    expect(errors.filter((code) => code === 'E_FETCH_FAILED')).toHaveLength(1);
    expect(errors.filter((code) => code === 'E_SOURCE_OPEN').length).toBeGreaterThanOrEqual(3);
  });
});
