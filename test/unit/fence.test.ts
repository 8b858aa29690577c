import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFence, encodeFence, fencedBy, fenceKeyOf } from '../../src/core/fence.ts';

const origin = { stream: 'cache-message-0', epoch: 3, position: '17' };

describe('the text of a fence', () => {
  it('is the documented one, which the script of the Redis tier takes apart', () => {
    expect(encodeFence('live', { kind: 'counter', digits: '42' }, origin)).toBe(
      '1|l|c|42|cache-message-0|3|17',
    );
    expect(encodeFence('tombstone', { kind: 'time', digits: '1767225600000000000' }, origin)).toBe(
      '1|t|t|1767225600000000000|cache-message-0|3|17',
    );
    expect(encodeFence('live', { kind: 'offset', digits: '17' }, origin)).toBe(
      '1|l|o|17|cache-message-0|3|17',
    );
    expect(encodeFence('observed', null, origin)).toBe('1|o|-||cache-message-0|3|17');
  });

  it('is read back as it was written', () => {
    const version = fc.record({
      kind: fc.constantFrom('counter' as const, 'time' as const, 'offset' as const),
      digits: fc.bigInt({ min: 0n }).map(String),
    });
    const anOrigin = fc.record({
      stream: fc.constantFrom('cache-message-0', 'http', 'file:3f5a', 'a.b_c-12'),
      epoch: fc.nat(),
      position: fc.oneof(fc.bigInt({ min: 0n }).map(String), fc.ulid()),
    });
    fc.assert(
      fc.property(
        fc.constantFrom('live' as const, 'tombstone' as const),
        version,
        anOrigin,
        (kind, one, by) => {
          expect(decodeFence(encodeFence(kind, one, by))).toEqual({ kind, version: one, origin: by });
        },
      ),
    );
    expect(decodeFence(encodeFence('observed', null, origin))).toEqual({
      kind: 'observed',
      version: null,
      origin,
    });
  });

  it('needs a version unless the tombstone was only observed', () => {
    expect(() => encodeFence('live', null, origin)).toThrow('without a version');
    expect(() => encodeFence('tombstone', null, origin)).toThrow('without a version');
  });

  it.each([
    '',
    'hello',
    '2|l|c|42|cache-message-0|3|17',
    '1|x|c|42|cache-message-0|3|17',
    '1|l|x|42|cache-message-0|3|17',
    '1|l|-||cache-message-0|3|17',
    '1|l|c||cache-message-0|3|17',
    '1|o|-|42|cache-message-0|3|17',
    '1|l|c|42|cache-message-0|three|17',
    '1|l|c|42|cache-message-0',
  ])('is not read from %j', (text) => {
    expect(decodeFence(text)).toBeUndefined();
    expect(fencedBy(text)).toBe('');
  });

  it('names the message that wrote it', () => {
    expect(fencedBy('1|l|c|42|cache-message-0|3|17')).toBe('cache-message-0@17');
  });
});

describe('the key of a fence', () => {
  it('has the cache key as its hash tag, so that both share a slot', () => {
    expect(fenceKeyOf('product_info_200')).toBe('fence:{product_info_200}');
  });
});
