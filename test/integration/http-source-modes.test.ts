import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { requestsFor } from '../support/calls.ts';
import {
  codeOf,
  codes,
  fetchIds,
  json,
  messageOf,
  never,
  scripted,
  shops,
  sourceAt,
} from '../support/http-records.ts';
import { type SourceMode, startHttpSource } from '../support/servers/http-source.ts';

describe('a source that misbehaves', () => {
  const cases: readonly [SourceMode, string, RegExp][] = [
    ['slow', 'E_FETCH_TIMEOUT', /did not answer within 300 ms/],
    ['500', 'E_FETCH_FAILED', /HTTP 500/],
    ['garbage', 'E_FETCH_NOT_JSON', /<html>/],
    ['truncated', 'E_FETCH_NOT_JSON', /broke off after \d+ bytes/],
    ['redirect', 'E_FETCH_REDIRECTED', /169\.254\.169\.254/],
    ['huge', 'E_FETCH_TOO_LARGE', /larger than 100000 bytes/],
  ];

  it.each(cases)(
    'by %s fails with %s, alone and in a batch, and is well again afterwards',
    async (mode, code, text) => {
      const origin = await shops(10, mode);
      const single = sourceAt(origin.url, { guard: { timeoutMs: 300 } });
      const inBatch = sourceAt(origin.url, { guard: { timeoutMs: 300 }, batch: {} });
      for (const outcomes of [await fetchIds(single, '1'), await fetchIds(inBatch, '1', '2')]) {
        for (const outcome of outcomes) {
          expect(codeOf(outcome)).toBe(code);
          expect(messageOf(outcome)).toMatch(text);
          expect(inspect(outcome, { depth: 10 })).not.toContain('geheim');
        }
      }
      origin.setMode('ok');
      expect(codes(await fetchIds(single, '1'))).toEqual(['record']);
      expect(codes(await fetchIds(inBatch, '1', '2'))).toEqual(['record', 'record']);
    },
  );

  it('does not read a huge answer to its end', async () => {
    const origin = await startHttpSource({ hugeBytes: 4_000_000_000 });
    onTestFinished(() => origin.stop());
    origin.setMode('huge');
    expect(codes(await fetchIds(sourceAt(origin.url), '1'))).toEqual(['E_FETCH_TOO_LARGE']);
  });

  it('by other ids in a batch is asked singly, and never stores one record under another id', async () => {
    const origin = await shops(3, 'wrongIds');
    const outcomes = await fetchIds(sourceAt(origin.url, { batch: {} }), '0', '1', '2');
    expect(origin.fetches('0')).toBe(2);
    expect(outcomes.map((outcome) => outcome.kind === 'record' && outcome.text)).toEqual(
      ['0', '1', '2'].map((id) => `{"id":"somebody-else","name":"shop ${id}"}`),
    );
  });

  it('by half of a batch missing is asked singly for the rest', async () => {
    const origin = await shops(20, 'halfMissing');
    const outcomes = await sourceAt(origin.url, { batch: {} }).fetchMany(requestsFor(20), never);
    expect(codes(outcomes)).toEqual(
      requestsFor(20, (id) => (id % 2 === 0 ? 'record' : 'absent')).map(({ id }) => id),
    );
    expect(origin.requests()).toBe(1 + 10);
  });

  it('by half of a batch missing is believed when it says so', async () => {
    const origin = await shops(20, 'halfMissing');
    const source = sourceAt(origin.url, { batch: { missing: 'absent' } });
    const outcomes = await source.fetchMany(requestsFor(20), never);
    expect(outcomes.filter(({ kind }) => kind === 'absent')).toHaveLength(10);
    expect(origin.requests()).toBe(1);
  });

  it('says nothing by 404 for a whole batch', async () => {
    const { url } = await scripted((_, response) => void response.writeHead(404).end());
    for (const missing of ['ask', 'absent'] as const) {
      const outcomes = await fetchIds(sourceAt(url, { batch: { missing } }), '1', '2');
      expect(codes(outcomes)).toEqual(['E_FETCH_FAILED', 'E_FETCH_FAILED']);
      expect(messageOf(outcomes[0])).toMatch(/HTTP 404/);
    }
    expect(codes(await fetchIds(sourceAt(url), '1'))).toEqual(['absent']);
  });

  it('lets nothing be evicted when most of a batch is gone', async () => {
    const origin = await shops(100, 'halfMissing');
    origin.delete('0');
    origin.delete('2');
    const source = sourceAt(origin.url, { batch: {}, guard: { maxAbsentRatio: 0.5 } });
    const outcomes = await source.fetchMany(requestsFor(100), never);
    expect(new Set(codes(outcomes))).toEqual(new Set(['record', 'E_SUSPICIOUS_ABSENCE']));
  });

  it('asks for a pause and gets it', async () => {
    let status = 429;
    const { url, asked } = await scripted((_, response) =>
      status === 200
        ? json(response, '{}')
        : void response.writeHead(status, { 'retry-after': '1' }).end('{"error":"slow down"}'),
    );
    const source = sourceAt(url, { guard: { effectTimeoutMs: 1_000 } });
    expect(messageOf((await fetchIds(source, '1'))[0])).toMatch(/HTTP 429/);
    status = 200;
    expect(codes(await fetchIds(source, '1'))).toEqual(['E_SOURCE_BUSY']);
    expect(asked).toHaveLength(1);
    await expect.poll(async () => codes(await fetchIds(source, '1')), { timeout: 3_000 }).toEqual(['record']);
    expect(asked).toHaveLength(2);
  });
});
