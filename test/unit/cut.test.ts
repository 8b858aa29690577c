import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/core/change.ts';
import type { QueuedChunk } from '../../src/core/ports.ts';
import { chunkId, chunkName, idPart } from '../../src/ingest/chunk-id.ts';
import { cut } from '../../src/ingest/cut.ts';
import { createSubmit } from '../../src/ingest/submit.ts';

const sizeOf = (size: number): number => size;

describe('cutting a batch into chunks', () => {
  it('cuts by count', () => {
    expect(cut([1, 1, 1, 1, 1], sizeOf, { maxChunkMessages: 2, maxChunkBytes: 100 })).toEqual([
      [1, 1],
      [1, 1],
      [1],
    ]);
  });

  it('cuts by bytes', () => {
    expect(cut([40, 40, 40, 100, 1], sizeOf, { maxChunkMessages: 10, maxChunkBytes: 100 })).toEqual([
      [40, 40],
      [40],
      [100],
      [1],
    ]);
  });

  it('gives a message that is larger than a chunk one of its own', () => {
    expect(cut([1, 500, 1], sizeOf, { maxChunkMessages: 10, maxChunkBytes: 100 })).toEqual([[1], [500], [1]]);
  });

  it('cuts nothing into nothing', () => {
    expect(cut([], sizeOf, { maxChunkMessages: 10, maxChunkBytes: 100 })).toEqual([]);
  });

  it('keeps every message, in order, within the bounds', () => {
    const limits = { maxChunkMessages: 7, maxChunkBytes: 50 };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 80 })), (sizes) => {
        const chunks = cut(sizes, sizeOf, limits);
        expect(chunks.flat()).toEqual(sizes);
        for (const chunk of chunks) {
          expect(chunk.length).toBeGreaterThan(0);
          expect(chunk.length).toBeLessThanOrEqual(limits.maxChunkMessages);
          const bytes = chunk.reduce((sum, size) => sum + size, 0);
          expect(bytes <= limits.maxChunkBytes || chunk.length === 1).toBe(true);
        }
      }),
    );
  });
});

describe('the job id of a chunk', () => {
  const place = { group: 'g', topic: 'cache-message', partition: 0, epoch: 2, first: '1200', last: '1327' };

  it('names group, topic, partition, epoch and offsets', () => {
    expect(chunkId(place)).toBe('g.cache-message.0.2.1200-1327');
    expect(chunkName(place)).toBe('cache-message/0 1200–1327');
    expect(chunkName({ ...place, last: '1200' })).toBe('cache-message/0 1200');
  });

  it('holds no colon, and no dot that could be mistaken', () => {
    expect(chunkId({ ...place, group: 'team:a.b', topic: 'x.y' })).toBe('team%3Aa%2Eb.x.y.0.2.1200-1327');
  });

  it('differs whenever the place differs', () => {
    const name = fc.string({
      minLength: 1,
      maxLength: 6,
      unit: fc.constantFrom('a', '.', ':', '0', '-', '%', 'ü'),
    });
    const topic = fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom('a', '.', '0', '-', '_') });
    const number = fc.integer({ min: 0, max: 3 });
    const anyPlace = fc
      .record({ group: name, topic, partition: number, epoch: number, first: number, last: number })
      .map((found) => ({ ...found, first: String(found.first), last: String(found.last) }));
    fc.assert(
      fc.property(anyPlace, anyPlace, (a, b) => {
        expect(chunkId(a)).not.toContain(':');
        expect(chunkId(a) === chunkId(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 5_000 },
    );
  });

  it('encodes names byte by byte', () => {
    expect(idPart('ü:')).toBe('%C3%BC%3A');
  });
});

describe('submitting messages that do not come from Kafka', () => {
  const message = (position: string): Message => ({
    origin: { stream: 'file:ab12', epoch: 0, position },
    timestampMs: 1,
    key: null,
    value: '{}',
    headers: [],
  });

  it('gives message ids, and the same job ids for the same lines', async () => {
    const calls: (readonly QueuedChunk[])[] = [];
    const submit = createSubmit({
      queue: { enqueue: (chunks) => Promise.resolve(void calls.push(chunks)) },
      machine: 'm@1',
      limits: { maxChunkMessages: 2, maxChunkBytes: 1_000 },
    });
    const messages = ['1', '2', '3'].map(message);
    expect(await submit(messages, { idPrefix: 'file:ab12' })).toEqual([
      'file:ab12@1',
      'file:ab12@2',
      'file:ab12@3',
    ]);
    await submit(messages, { idPrefix: 'file:ab12' });
    await submit(messages, { idPrefix: 'file:ab12.again-1' });
    const ids = calls.map((chunks) => chunks.map(({ id }) => id));
    expect(ids[0]).toEqual(['file%3Aab12.1-2', 'file%3Aab12.3-3']);
    expect(ids[1]).toEqual(ids[0]);
    expect(ids[2]).not.toEqual(ids[0]);
    expect(calls[0]?.[0]?.data).toMatchObject({ stream: 'file:ab12', machine: 'm@1', positions: ['1', '2'] });
  });

  it('enqueues nothing for nothing', async () => {
    const submit = createSubmit({
      queue: { enqueue: () => Promise.reject(new Error('nobody asked')) },
      machine: 'm@1',
      limits: { maxChunkMessages: 2, maxChunkBytes: 1_000 },
    });
    expect(await submit([], { idPrefix: 'http' })).toEqual([]);
  });
});
