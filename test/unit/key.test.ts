import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkKeyTemplate, compileKeyTemplate, mayShareKeys } from '../../src/core/key.ts';

const keyOf = compileKeyTemplate('product_info_{id}');

describe('a key', () => {
  it('is plain for plain ids', () => {
    expect(keyOf('200')).toBe('product_info_200');
    expect(keyOf('a-B_c.9')).toBe('product_info_a-B_c.9');
  });

  it('never has anything but printable ASCII without braces, globs, colons or slashes from an id', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), (id) => {
        expect(keyOf(id)).toMatch(/^product_info_[A-Za-z0-9_.%-]+$/);
      }),
    );
  });

  it('belongs to one id only, and tells which', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), (id) => {
        expect(decodeURIComponent(keyOf(id).slice('product_info_'.length))).toBe(id);
      }),
    );
  });

  it('belongs to one id only when the template names the id twice', () => {
    const twice = compileKeyTemplate('{id}:{id}x');
    const id = fc.stringMatching(/^[ax:%]{1,4}$/);
    fc.assert(
      fc.property(id, id, (a, b) => {
        expect(twice(a) === twice(b)).toBe(a === b);
      }),
    );
  });

  it('has at most 512 bytes', () => {
    expect(keyOf('a'.repeat(512 - 'product_info_'.length))).toHaveLength(512);
    expect(() => keyOf('a'.repeat(513 - 'product_info_'.length))).toThrow('512 are allowed');
  });

  it.each(['', '\ud800', 'a\udc00b'])('is not made for %j', (id) => {
    expect(() => keyOf(id)).toThrow(expect.objectContaining({ code: 'E_KEY_INVALID' }));
  });
});

describe('a key template', () => {
  it.each(['{id}', 'product_info_{id}', 'shop:{id}:v2', '{id}/{id}'])('may be %j', (template) => {
    expect(checkKeyTemplate(template)).toBeUndefined();
  });

  it.each([
    ['', 'needs the placeholder {id}'],
    ['product_info', 'needs the placeholder {id}'],
    ['product_{ID}', 'needs the placeholder {id}'],
    ['{tenant}_{id}', '{tenant} is not known'],
    ['{{id}}', 'no braces'],
    ['{id}}', 'no braces'],
    ['product info {id}', 'without spaces'],
    ['product\n{id}', 'without spaces'],
    ['prodüct_{id}', 'printable ASCII'],
    [`${'a'.repeat(512)}{id}`, 'at most 512 bytes'],
  ])('may not be %j', (template, problem) => {
    expect(checkKeyTemplate(template)).toContain(problem);
    expect(() => compileKeyTemplate(template)).toThrow(problem);
  });
});

describe('two key templates', () => {
  it.each([
    ['product_{id}', 'product_{id}'],
    ['product_{id}', 'product_info_{id}'],
    ['{id}', 'product_{id}'],
    ['product_{id}', 'product_{id}_v2'],
    ['{id}_y', 'x_{id}'],
  ])('%s and %s may name the same key', (one, other) => {
    expect(mayShareKeys(one, other)).toBe(true);
    expect(mayShareKeys(other, one)).toBe(true);
  });

  it.each([
    ['product_info_{id}', 'shop_info_{id}'],
    ['product:{id}', 'product:info:{id}'],
    ['product_{id}', 'product_{id}:v2'],
    ['{id}:a', '{id}:b'],
  ])('%s and %s never do', (one, other) => {
    expect(mayShareKeys(one, other)).toBe(false);
    expect(mayShareKeys(other, one)).toBe(false);
  });
});
