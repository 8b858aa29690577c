import { describe, expect, it } from 'vitest';
import { compileJsonSchema } from '../../src/adapters/json-schema-check.ts';

const SHOP = {
  type: 'object',
  required: ['id', 'lines'],
  properties: {
    id: { type: 'string' },
    kind: { enum: ['shop', 'stall'] },
    lines: { type: 'array', items: { type: 'object', properties: { price: { type: 'number' } } } },
  },
  additionalProperties: false,
} as const;

describe('the check of a JSON Schema', () => {
  it('lets a fitting value pass as it is', () => {
    const value = { id: '1', kind: 'shop', lines: [{ price: 1 }] };
    const result = compileJsonSchema(SHOP)(value);
    expect(result).toEqual({ ok: true, transformed: false, value });
    expect('value' in result && result.value).toBe(value);
  });

  it('says what is wrong and where, all of it', () => {
    const value = { kind: 'tent', lines: [{}, { price: '1' }], more: 1 };
    expect(compileJsonSchema(SHOP)(value)).toEqual({
      ok: false,
      issues: [
        "must have required property 'id'",
        'must NOT have additional properties (more)',
        'kind: must be equal to one of the allowed values (["shop","stall"])',
        'lines/1/price: must be number',
      ],
    });
  });

  it('says ten things at most', () => {
    const check = compileJsonSchema({ type: 'array', items: { type: 'string' } });
    const result = check(Array.from({ length: 30 }, (_, index) => index));
    expect('issues' in result && [result.issues.length, result.issues.at(-1)]).toEqual([11, 'and 20 more']);
  });

  it('adds no defaults and turns nothing into something else', () => {
    const check = compileJsonSchema({ properties: { a: { type: 'integer' }, b: { default: 1 } } });
    const value = { a: 1 };
    expect(check(value)).toMatchObject({ ok: true });
    expect(value).toEqual({ a: 1 });
    expect(check({ a: '1' })).toMatchObject({ ok: false });
  });

  it('knows the drafts 2020-12, 2019-09 and 07 apart', () => {
    const tuple = { items: [{ type: 'string' }] };
    const prefix = { prefixItems: [{ type: 'string' }] };
    for (const schema of [
      { $schema: 'http://json-schema.org/draft-07/schema#', ...tuple },
      { $schema: 'https://json-schema.org/draft/2019-09/schema', ...tuple },
      { $schema: 'https://json-schema.org/draft/2020-12/schema', ...prefix },
      prefix,
    ]) {
      expect(compileJsonSchema(schema)([1])).toMatchObject({ ok: false });
      expect(compileJsonSchema(schema)(['1'])).toMatchObject({ ok: true });
    }
  });

  it('keeps two schemas of one $id apart', () => {
    const id = 'https://example.org/shop';
    expect(compileJsonSchema({ $id: id, type: 'string' })(1)).toMatchObject({ ok: false });
    expect(compileJsonSchema({ $id: id, type: 'number' })(1)).toMatchObject({ ok: true });
  });

  it.each([
    ['an unknown keyword', { requried: ['id'] }, /unknown keyword: "requried"/],
    ['a wrong type', { type: 'strnig' }, /type/],
    ['a reference that leads out', { $ref: 'https://example.org/other.json' }, /can't resolve reference/],
    ['an unknown draft', { $schema: 'http://json-schema.org/draft-04/schema#' }, /draft-04/],
    ['an asynchronous schema', { $async: true }, /\$async/],
  ])('is refused for %s', (_, schema, text) => {
    expect(() => compileJsonSchema(schema)).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_INVALID', message: expect.stringMatching(text) }),
    );
  });

  it('takes a format as a remark', () => {
    expect(compileJsonSchema({ type: 'string', format: 'date-time' })('yesterday')).toMatchObject({
      ok: true,
    });
  });
});
