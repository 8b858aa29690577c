import { isUtf8 } from 'node:buffer';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bytes, type Message, toBytes } from '../../src/core/change.ts';
import { CHUNK_FORMAT, chunkOf, PLAIN_FORMAT } from '../../src/core/chunk.ts';
import { packChunk, packRawChunk, unpackChunk } from '../../src/core/packed-chunk.ts';

const messageOf = (value: Bytes | null, index: number, more: Partial<Message> = {}): Message => ({
  origin: {
    stream: 'cache-message-0',
    epoch: 2,
    position: String((more.timestampMs === undefined ? 9_007_199_254_740_993n : 41n) + BigInt(index)),
  },
  timestampMs: 1_767_225_600_000 + index,
  key: String(index % 7),
  value,
  headers: [],
  ...more,
});
const large = (values: readonly (Bytes | null)[], more: Partial<Message> = {}) =>
  chunkOf(
    ['x'.repeat(20_000), ...values].map((value, index) => messageOf(value, index, more)),
    'change-message@1',
    { redrive: 1, parentExecutions: 3, suspect: true, waiting: { 0: aWait, '1#2': aWait } },
  );
const aWait = { state: 'parsed', attempts: 2, dueMs: 5, sinceMs: 4, error: 'E_FETCH_FAILED' };

/** As it comes back from Redis. */
const throughRedis = (chunk: ReturnType<typeof chunkOf>) =>
  unpackChunk(JSON.parse(JSON.stringify(packChunk(chunk))) as ReturnType<typeof packChunk>);

describe('a chunk in its job', () => {
  it('stays as it is while it is small: readable, and known to workers of format 1', () => {
    const chunk = chunkOf([messageOf('{"id":1}', 0)], 'change-message@1');
    expect(packChunk(chunk)).toBe(chunk);
    expect(chunk.format).toBe(PLAIN_FORMAT);
    expect(unpackChunk(chunk)).toBe(chunk);
  });

  it('is packed when it is large, says where it is from, and weighs a fraction', () => {
    const texts = Array.from(
      { length: 500 },
      (_, id) => `{"serviceId":"productInfoService","id":${id},"price":5599}`,
    );
    const chunk = chunkOf(
      texts.map((text, index) => messageOf(text, index)),
      'change-message@1',
    );
    const packed = packChunk(chunk);
    expect(packed).toMatchObject({ format: CHUNK_FORMAT, stream: 'cache-message-0', epoch: 2 });
    expect(packed).toMatchObject({ first: '9007199254740993', last: '9007199254741492' });
    expect(JSON.stringify(packed).length).toBeLessThan(JSON.stringify(chunk).length / 4);
    expect(throughRedis(chunk)).toEqual(chunk);
  });

  it('comes back as it was: text of any alphabet, bytes that are no text, nothing at all', () => {
    const values: (Bytes | null)[] = ['ü', '漢字', '\u{1f600}\n"\\', '', null, { base64: '/w==' }, 'a'];
    expect(throughRedis(large(values))).toEqual(large(values));
    const headers = [
      ['trace', 'ä'],
      ['raw', { base64: '/w==' }],
    ] as const;
    expect(throughRedis(large(values, { key: null, headers }))).toEqual(
      large(values, { key: null, headers }),
    );
  });

  it.each([
    ['text', '17'],
    ['nothing', ''],
    ['a text of several lines', 'a\nb'],
    ['no text', { base64: '/w==' }],
    ['no key', null],
  ] as const)('comes back with its keys: %s', (_, key) => {
    const chunk = chunkOf(
      ['x'.repeat(20_000), 'y'].map((value, index) => messageOf(value, index, index === 0 ? {} : { key })),
      'change-message@1',
    );
    expect(throughRedis(chunk)).toEqual(chunk);
  });

  it('comes back as it was, whatever is in it', () => {
    const value = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary-ascii' }),
      fc.constant(null),
    );
    fc.assert(
      fc.property(fc.array(value, { maxLength: 20 }), (values) => {
        expect(throughRedis(large(values))).toEqual(large(values));
      }),
    );
  });

  it.each([20, 20_000])('is the same from bytes as from texts, the first of %d bytes', (length) => {
    const raws = [
      Buffer.alloc(length, 'x'),
      Buffer.from('größe 漢字'),
      Buffer.from([0xff, 0x00]),
      // Each is half of a character: together they would be one.
      Buffer.from('ö').subarray(0, 1),
      Buffer.from('ö').subarray(1),
      Buffer.alloc(0),
      null,
    ];
    const values = raws.map((raw) => (raw === null ? null : toBytes(raw, isUtf8)));
    const chunk = chunkOf(
      values.map((value, index) => messageOf(value, index)),
      'change-message@1',
    );
    const stored = packRawChunk({ ...chunk, values: raws });
    expect('packed' in stored).toBe(length > 16_384);
    expect(stored).toEqual(packChunk(chunk));
    expect(unpackChunk(stored)).toEqual(chunk);
    expect(packChunk(stored)).toBe(stored);
  });

  it('leaves a format that is not known yet to whoever knows it', () => {
    const newer = { ...large([]), format: 99 };
    expect(unpackChunk(newer)).toBe(newer);
  });
});
