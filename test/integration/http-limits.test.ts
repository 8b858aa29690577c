import type { Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { mostAtOnce, mostPerSecond, requestsFor, type Span } from '../support/calls.ts';
import { codes, fetchIds, json, never, scripted, sourceAt } from '../support/http-records.ts';
import { startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';

describe('the limits of an HTTP source', () => {
  it('hold as its server counts them: at once, and in any one second', async () => {
    const spans: Span[] = [];
    const { url } = await scripted((_, response) => {
      const span = { fromMs: performance.now(), untilMs: Number.POSITIVE_INFINITY };
      spans.push(span);
      response.once('close', () => (span.untilMs = performance.now()));
      setTimeout(() => json(response, '{"id":"1"}'), (spans.length % 5) * 15);
    });
    const source = sourceAt(url, { guard: { perSecond: 40, concurrency: 5 } });
    const outcomes = await source.fetchMany(requestsFor(120), never);
    expect(new Set(codes(outcomes))).toEqual(new Set(['record']));
    expect(spans).toHaveLength(120);
    expect(mostPerSecond(spans.map(({ fromMs }) => fromMs))).toBeLessThanOrEqual(40);
    expect(mostAtOnce(spans)).toBeLessThanOrEqual(5);
  });

  it('hold for ids that are asked singly after a batch, and for redirects', async () => {
    const arrivals: number[] = [];
    const { url, host } = await scripted((request, response) => {
      arrivals.push(performance.now());
      if (request.url?.startsWith('/shops?') === true) json(response, '{"data":[]}');
      else if (request.url?.includes('moved') === true) json(response, '{"id":"1"}');
      else response.writeHead(302, { location: `${request.url}?moved` }).end();
    });
    const source = sourceAt(url, {
      http: { allowRedirectsTo: [host] },
      batch: {},
      guard: { perSecond: 10, concurrency: 3 },
    });
    const outcomes = await source.fetchMany(requestsFor(10), never);
    expect(new Set(codes(outcomes))).toEqual(new Set(['record']));
    expect(arrivals).toHaveLength(1 + 2 * 10);
    expect(mostPerSecond(arrivals)).toBeLessThanOrEqual(10);
  });

  it('let a slow source be asked as often at once as they say', async () => {
    const origin = await startHttpSource({ latencyMs: 20 });
    onTestFinished(() => origin.stop());
    for (const { id } of requestsFor(5_000)) origin.put(id, { id });
    const source = sourceAt(origin.url, { batch: {} });
    const outcomes = await source.fetchMany(requestsFor(5_000), never);
    expect(new Set(codes(outcomes))).toEqual(new Set(['record']));
    expect([origin.requests(), origin.maxConcurrency()]).toEqual([50, 8]);
  });
});

describe('a stopped fetch', () => {
  it('closes the sockets it used, and only those', async () => {
    const sockets = new Set<Socket>();
    const { url } = await scripted((request, response) => {
      if (request.url === '/shops/fast') {
        json(response, '{}');
        return;
      }
      sockets.add(request.socket);
      // A head and half a body: stopping has to work while an answer is being read, too.
      if (request.url === '/shops/half') response.writeHead(200).write('{"id":');
    });
    const source = sourceAt(url);
    await fetchIds(source, 'fast');
    const stop = new AbortController();
    const fetched = source.fetchMany([{ id: 'never' }, { id: 'half' }], stop.signal);
    const other = new AbortController();
    const unrelated = source.fetchMany([{ id: 'unrelated' }], other.signal);
    await waitFor(() => sockets.size === 3, { what: 'three requests' });
    stop.abort(new Error('shutting down'));
    expect(codes(await fetched)).toEqual(['E_ABORTED', 'E_ABORTED']);
    await waitFor(() => [...sockets].filter((socket) => socket.destroyed).length === 2, {
      what: 'two sockets to close',
    });
    other.abort(new Error('shutting down'));
    expect(codes(await unrelated)).toEqual(['E_ABORTED']);
  });
});
