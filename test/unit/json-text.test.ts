import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkDepth,
  hasUnsafeNumber,
  itemsAt,
  pointerOf,
  pointerTokens,
  sliceAt,
  valueAt,
} from '../../src/core/json-text.ts';

/** Any JSON with spaces and line breaks wherever they may stand. */
const anyJson = fc
  .tuple(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(undefined, 1, '\t'))
  .map(([value, indent]) => JSON.stringify(value, undefined, indent));

/** Every place in a value. */
function placesIn(value: unknown, here: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [here];
  return [here, ...Object.entries(value).flatMap(([name, inner]) => placesIn(inner, [...here, name]))];
}

describe('a JSON pointer', () => {
  it.each([
    ['', []],
    ['/', ['']],
    ['/id', ['id']],
    ['/after/id', ['after', 'id']],
    ['/a~1b/m~0n/~01', ['a/b', 'm~n', '~1']],
    ['/lines/0', ['lines', '0']],
  ])('%j is read as %j', (pointer, tokens) => {
    expect(pointerTokens(pointer)).toEqual(tokens);
    expect(pointerOf(tokens)).toBe(pointer);
  });

  it.each(['id', 'a/b', '/a~', '/a~2'])('is not %j', (pointer) => {
    expect(() => pointerTokens(pointer)).toThrow('a JSON pointer');
  });
});

describe('the value at a place', () => {
  it('is never an inherited one', () => {
    expect(valueAt({}, ['toString'])).toBeUndefined();
    expect(valueAt({}, ['__proto__'])).toBeUndefined();
    expect(valueAt([1], ['length'])).toBeUndefined();
    expect(valueAt('text', ['0'])).toBeUndefined();
    expect(valueAt(null, ['a'])).toBeUndefined();
  });

  it('of an array is asked for by a plain index', () => {
    expect(valueAt({ a: [{ b: 7 }] }, ['a', '0', 'b'])).toBe(7);
    expect(valueAt([1, 2], ['01'])).toBeUndefined();
    expect(valueAt([1, 2], ['-'])).toBeUndefined();
  });
});

describe('the source text at a place', () => {
  it('says what the value at that place says, wherever it is', () => {
    fc.assert(
      fc.property(anyJson, (text) => {
        const value: unknown = JSON.parse(text);
        for (const place of placesIn(value)) {
          const slice = sliceAt(text, place);
          expect(slice === undefined ? undefined : JSON.parse(slice)).toEqual(valueAt(value, place));
        }
      }),
    );
  });

  it('keeps the bytes as they came', () => {
    const text = '{ "after" : { "id": 9007199254740993, "price": 1.10 , "name":"a\\"b\\\\" },"op":"c"}';
    expect(sliceAt(text, ['after'])).toBe('{ "id": 9007199254740993, "price": 1.10 , "name":"a\\"b\\\\" }');
    expect(sliceAt(text, ['after', 'id'])).toBe('9007199254740993');
    expect(sliceAt(text, ['after', 'price'])).toBe('1.10');
    expect(sliceAt(text, ['after', 'name'])).toBe('"a\\"b\\\\"');
    expect(sliceAt(text, ['op'])).toBe('"c"');
    expect(sliceAt(' 42 ', [])).toBe('42');
  });

  it('is that of the last of repeated names, as JSON.parse takes it', () => {
    expect(sliceAt('{"a":{"b":1},"a":{"b":2}}', ['a', 'b'])).toBe('2');
    expect(sliceAt('{"a":{"b":1},"a":{}}', ['a', 'b'])).toBeUndefined();
  });

  it('is found when the name is written with escapes', () => {
    expect(sliceAt('{"\\u0069d":1}', ['id'])).toBe('1');
    expect(sliceAt('{"a\\/b":1,"":2}', ['a/b'])).toBe('1');
    expect(sliceAt('{"a\\/b":1,"":2}', [''])).toBe('2');
  });

  it('is not found where there is none', () => {
    expect(sliceAt('{"a":1}', ['b'])).toBeUndefined();
    expect(sliceAt('{"a":1}', ['a', 'b'])).toBeUndefined();
    expect(sliceAt('[1,2]', ['2'])).toBeUndefined();
    expect(sliceAt('[1,2]', ['01'])).toBeUndefined();
    expect(sliceAt('[]', ['0'])).toBeUndefined();
  });

  it('of a nesting that would overflow a recursive scanner is found', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect(sliceAt(`{"a":${deep},"b":1}`, ['b'])).toBe('1');
  });
});

describe('the items of a list', () => {
  it('are the source texts of its elements or values, in order', () => {
    expect(itemsAt('{"data":[ {"id":1} , 2,"x,]" ,[3]]}', ['data'])).toEqual([
      '{"id":1}',
      '2',
      '"x,]"',
      '[3]',
    ]);
    expect(itemsAt('{"a":{"x":1,"y":[2]}}', ['a'])).toEqual(['1', '[2]']);
    expect(itemsAt('[1]', [])).toEqual(['1']);
  });

  it('are none where there is no list', () => {
    expect(itemsAt('{"a":1}', ['a'])).toEqual([]);
    expect(itemsAt('{"a":1}', ['b'])).toEqual([]);
    expect(itemsAt('{"a":[]}', ['a'])).toEqual([]);
  });
});

describe('the depth of a text', () => {
  it('is that of the value it holds', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
    fc.assert(
      fc.property(anyJson, (text) => {
        const depth = depthOf(JSON.parse(text));
        expect(checkDepth(text, depth)).toBe(true);
        expect(checkDepth(text, depth - 1)).toBe(false);
      }),
    );
  });

  it('counts no brackets inside strings', () => {
    expect(checkDepth('{"a":"[[[[\\"[[[["}', 1)).toBe(true);
  });

  it('is judged without recursion, of text that is no JSON too', () => {
    expect(checkDepth('['.repeat(1_000_000), 64)).toBe(false);
    expect(checkDepth('"'.repeat(1_001), 64)).toBe(true);
  });
});

describe('a number that JSON.parse may have altered', () => {
  it('is never overlooked', () => {
    const integer = fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }).map(String);
    fc.assert(
      fc.property(integer, (text) => {
        fc.pre(!Number.isSafeInteger(Number(text)));
        expect(hasUnsafeNumber(`{"version":${text}}`)).toBe(true);
      }),
      { examples: [['9007199254740993'], ['-9007199254740993']] },
    );
  });

  it('is not overlooked when a fraction is lost in rounding', () => {
    const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(whole, fc.nat({ max: 40 }), fc.integer({ min: 1, max: 9 }), (before, zeros, last) => {
        const text = `${before}.${'0'.repeat(zeros)}${last}`;
        fc.pre(Number.isInteger(Number(text)));
        expect(hasUnsafeNumber(`{"version":${text}}`)).toBe(true);
      }),
      { examples: [[1_234_567, 12, 1]] },
    );
  });

  it.each(['{"a":1e3}', '{"a": 1E3}', '[1.5e+3]', '[0,2e-400]', '1e3', '{"a":\n-1e3}'])(
    'is seen in %j',
    (text) => {
      expect(hasUnsafeNumber(text)).toBe(true);
    },
  );

  it.each(['{"id":200,"price":5599.99}', '{"uuid":"3e4f-1e5a"}', '{"at":"2026-01-01T00:00:00.123Z"}', '{}'])(
    'is not suspected in %j',
    (text) => {
      expect(hasUnsafeNumber(text)).toBe(false);
    },
  );
});
