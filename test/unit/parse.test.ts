import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Message } from '../../src/core/change.ts';
import { pointerTokens } from '../../src/core/json-text.ts';
import { compileKeyTemplate } from '../../src/core/key.ts';
import { checkOf } from '../../src/core/schema.ts';
import {
  type Change,
  originalForm,
  type Service,
  type TopicMapping,
  type VersionRule,
} from '../../src/core/service.ts';
import { formatVersion } from '../../src/core/version.ts';
import { createParse } from '../../src/pipeline/parse.ts';
import { aService } from '../support/service.ts';

const NOW = 1_767_225_600_000;
const base: VersionRule = aService().version;
const timeRule: VersionRule = { ...base, path: ['modifiedTime'], kind: 'time' };

/** One service in one topic, as the pipeline has them. */
function parserOf(service: Partial<Service> = {}, mapping: Partial<TopicMapping> = {}) {
  const made = aService({ keyOf: compileKeyTemplate('product_info_{id}'), ...service });
  return createParse({
    services: new Map([[made.id, made]]),
    mappingOf: () => ({ ...originalForm, ...mapping }),
    limits: { maxMessageBytes: 10_000, maxDepth: 16 },
    clock: { now: () => NOW, sleep: async () => undefined, random: () => 0 },
  });
}

function messageOf(value: unknown, more: Partial<Message> = {}): Message {
  return {
    origin: { stream: 'cache-message-0', epoch: 0, position: '17' },
    timestampMs: NOW - 1_000,
    key: null,
    value: value === null || typeof value === 'string' ? value : JSON.stringify(value),
    headers: [],
    ...more,
  };
}

async function changesOf(parse: ReturnType<typeof parserOf>, message: Message): Promise<readonly Change[]> {
  const result = await parse(message);
  if (result.kind === 'rejected') throw result.error;
  return result.kind === 'changes' ? result.changes : [];
}

async function changeOf(parse: ReturnType<typeof parserOf>, message: Message): Promise<Change> {
  const [change, ...others] = await changesOf(parse, message);
  if (change === undefined || others.length > 0) throw new Error('not one change');
  return change;
}

async function versionOf(parse: ReturnType<typeof parserOf>, message: Message): Promise<string> {
  const { version } = await changeOf(parse, message);
  return version === undefined ? 'none' : formatVersion(version);
}

async function codeOf(parse: ReturnType<typeof parserOf>, message: Message): Promise<string> {
  const result = await parse(message);
  return result.kind === 'rejected' ? result.error.code : result.kind;
}

const product = { serviceId: 'productInfoService', id: 200, version: 5 };

describe('a message in the original form', () => {
  it('is read at once, without a promise', () => {
    expect(parserOf()(messageOf(product))).toMatchObject({ kind: 'changes' });
  });

  it('becomes a change of its service, with its key, its version and its bytes as the record', async () => {
    const text = '{ "serviceId":"productInfoService", "id":200, "version":5, "price": 1.10 }';
    const change = await changeOf(parserOf(), messageOf(text));
    expect(change).toMatchObject({ id: '200', key: 'product_info_200', op: 'upsert', record: text });
    expect(change.service.id).toBe('productInfoService');
    expect(change.version).toEqual({ kind: 'counter', digits: '5' });
  });

  it('carries no record when it asks for a delete', async () => {
    const change = await changeOf(parserOf(), messageOf({ ...product, op: 'delete' }));
    expect(change).toMatchObject({ op: 'delete', record: undefined, version: { digits: '5' } });
  });

  it('is of its own stream: each stream has its mapping', async () => {
    const parse = createParse({
      services: new Map([['productInfoService', aService()]]),
      mappingOf: (stream) => (stream === 'a-0' ? originalForm : { ...originalForm, id: [['sku']] }),
      limits: { maxMessageBytes: 10_000, maxDepth: 16 },
      clock: { now: () => NOW, sleep: async () => undefined, random: () => 0 },
    });
    const at = (stream: string) =>
      messageOf({ ...product, sku: 'x' }, { origin: { stream, epoch: 0, position: '1' } });
    for (const [stream, id] of [
      ['a-0', '200'],
      ['b-0', 'x'],
      ['a-0', '200'],
    ] as const) {
      expect((await changeOf(parse, at(stream))).id).toBe(id);
    }
  });
});

describe('where versions come from', () => {
  it('the message, at any depth', async () => {
    const version: VersionRule = { ...base, from: 'message', path: pointerTokens('/meta/0/rev') };
    const parse = parserOf({ version });
    expect(await versionOf(parse, messageOf({ ...product, meta: [{ rev: '12' }] }))).toBe('counter:12');
    expect(await codeOf(parse, messageOf(product))).toBe('E_VERSION_MISSING');
    expect(await codeOf(parserOf({ version, inline: false }), messageOf(product))).toBe('E_VERSION_MISSING');
  });

  it('a header, the last of its name', async () => {
    const parse = parserOf({ version: { ...base, from: 'header', path: ['rev'] } });
    const headers = [['rev', '1'] as const, ['other', '3'] as const, ['rev', '2'] as const];
    expect(await versionOf(parse, messageOf(product, { headers }))).toBe('counter:2');
    expect(await codeOf(parse, messageOf(product))).toBe('E_VERSION_MISSING');
    const bytes = messageOf(product, { headers: [['rev', { base64: '//8=' }]] });
    expect(await codeOf(parse, bytes)).toBe('E_VERSION_INVALID');
  });

  it('the Kafka offset, which only Kafka has', async () => {
    const parse = parserOf({ version: { ...base, from: 'offset', path: [], kind: 'offset' } });
    expect(await versionOf(parse, messageOf(product))).toBe('offset:17');
    const posted = messageOf(product, { origin: { stream: 'http', epoch: 0, position: '01J9ZQ5W3K' } });
    expect(await codeOf(parse, posted)).toBe('E_VERSION_INVALID');
  });

  it('the message time, where the rule lets it stand in for a missing field', async () => {
    const parse = parserOf({ version: { ...timeRule, missing: 'timestamp' } });
    expect(await versionOf(parse, messageOf(product))).toBe(`time:${NOW - 1_000}000000`);
    expect(await versionOf(parse, messageOf({ ...product, op: 'delete' }))).toBe(`time:${NOW - 1_000}000000`);
    expect(await codeOf(parse, messageOf(product, { timestampMs: -1 }))).toBe('E_VERSION_MISSING');
    expect(await codeOf(parse, messageOf(product, { timestampMs: 4_070_908_800_000 }))).toBe(
      'E_VERSION_AHEAD',
    );
    const dated = messageOf({ ...product, modifiedTime: '2025-12-31T00:00:00Z' });
    expect(await versionOf(parse, dated)).toBe('time:1767139200000000000');
  });

  it('an odd field of an inline record is refused, also where the message time could stand in', async () => {
    const parse = parserOf({ version: { ...timeRule, missing: 'timestamp' } });
    expect(await codeOf(parse, messageOf({ ...product, modifiedTime: 'yesterday' }))).toBe(
      'E_VERSION_INVALID',
    );
  });
});

describe('a message about a record that is yet to be fetched', () => {
  const thin = parserOf({ inline: false });

  it('needs no version and carries no record', async () => {
    const change = await changeOf(thin, messageOf({ serviceId: 'productInfoService', id: 300 }));
    expect(change).toMatchObject({ version: undefined, record: undefined, key: 'product_info_300' });
  });

  it('announces the version it holds under the name the record has it', async () => {
    expect(await versionOf(thin, messageOf(product))).toBe('counter:5');
  });

  it.each(['latest', -1, 1.5, { n: 1 }, true, ''])(
    'is not refused for %j under that name, which was never a version',
    async (version) => {
      expect(await versionOf(thin, messageOf({ ...product, version }))).toBe('none');
    },
  );

  it('does not take its own time for the time of the record, unless it is a delete', async () => {
    const parse = parserOf({ inline: false, version: { ...timeRule, missing: 'timestamp' } });
    expect(await versionOf(parse, messageOf(product))).toBe('none');
    expect(await versionOf(parse, messageOf({ ...product, op: 'delete' }))).toBe(`time:${NOW - 1_000}000000`);
  });
});

describe('topics of their own form', () => {
  const debezium: Partial<TopicMapping> = {
    service: 'productInfoService',
    id: ['/after/id', '/before/id'].map(pointerTokens),
    op: ['op'],
    record: ['after'],
    nullValue: 'delete',
  };

  it.each(['c', 'r', 'u'])(
    'an envelope of Debezium with op %s is an upsert of its after image',
    async (op) => {
      const text = `{"before":null,"after": {"id":9007199254740993, "version":7 },"op":"${op}"}`;
      expect(await changeOf(parserOf({}, debezium), messageOf(text))).toMatchObject({
        key: 'product_info_9007199254740993',
        op: 'upsert',
        version: { digits: '7' },
        record: '{"id":9007199254740993, "version":7 }',
      });
    },
  );

  it('an envelope of Debezium with op d is a delete of what it was before', async () => {
    const text = '{"before":{"id":200,"version":7},"after":null,"op":"d"}';
    const change = await changeOf(parserOf({}, debezium), messageOf(text));
    expect(change).toMatchObject({ id: '200', op: 'delete', version: undefined, record: undefined });
  });

  it('an envelope without an after image cannot be an upsert', async () => {
    const text = '{"before":{"id":200},"after":null,"op":"u"}';
    const parse = parserOf({ version: { ...base, from: 'offset', kind: 'offset' } }, debezium);
    expect(await codeOf(parse, messageOf(text))).toBe('E_MESSAGE_INVALID');
  });

  it.each([
    ['200', '200'],
    ['{"id":200}', '200'],
    ['{"schema":{},"payload":{"id":9007199254740993}}', '9007199254740993'],
  ])('a null value with the key %s is a delete', async (key, id) => {
    const change = await changeOf(parserOf({}, debezium), messageOf(null, { key }));
    expect(change).toMatchObject({ id, op: 'delete' });
  });

  it('a null value whose key does not name the id is refused', async () => {
    const parse = parserOf({}, debezium);
    expect(await codeOf(parse, messageOf(null, { key: '{"sku":1}' }))).toBe('E_ID_MISSING');
    expect(await codeOf(parse, messageOf(null, { key: '{oops' }))).toBe('E_MESSAGE_NOT_JSON');
    expect(await codeOf(parse, messageOf(null))).toBe('E_ID_MISSING');
  });

  it('a null value is refused where it has no meaning, or no service', async () => {
    expect(await codeOf(parserOf(), messageOf(null, { key: '200' }))).toBe('E_MESSAGE_EMPTY');
    const parse = parserOf({}, { nullValue: 'delete' });
    expect(await codeOf(parse, messageOf(null, { key: '200' }))).toBe('E_SERVICE_MISSING');
  });

  it('the Kafka key may be the id, as it stands', async () => {
    const parse = parserOf({}, { id: 'key', service: 'productInfoService' });
    expect((await changeOf(parse, messageOf({ version: 1 }, { key: '{"a":1}' }))).id).toBe('{"a":1}');
  });

  it('a missing or null operation is an upsert', async () => {
    const parse = parserOf({}, { op: ['meta', 'op'] });
    expect((await changeOf(parse, messageOf(product))).op).toBe('upsert');
    expect((await changeOf(parse, messageOf({ ...product, meta: { op: null } }))).op).toBe('upsert');
    expect((await changeOf(parse, messageOf({ ...product, meta: { op: 'd' } }))).op).toBe('delete');
  });
});

describe('schemas', () => {
  const message = z.looseObject({ serviceId: z.string(), price: z.number().optional() });

  it('refuse a message that does not match, and say where', async () => {
    const result = await parserOf({ checkMessage: checkOf(message) })(
      messageOf({ ...product, price: 'high' }),
    );
    expect(result).toMatchObject({ kind: 'rejected', error: { code: 'E_MESSAGE_INVALID' } });
    expect(result.kind === 'rejected' && result.error.message).toContain('price: ');
  });

  it('refuse an inline record that does not match', async () => {
    const parse = parserOf({ checkRecord: checkOf(z.looseObject({ price: z.number() })) });
    expect(await codeOf(parse, messageOf(product))).toBe('E_MESSAGE_INVALID');
    expect(await codeOf(parse, messageOf({ ...product, op: 'delete' }))).toBe('changes');
  });

  it('leave the bytes of the record alone when they change nothing in it', async () => {
    const parse = parserOf({ checkRecord: checkOf(z.looseObject({ version: z.number() })) });
    const text = '{"version":5.0, "serviceId":"productInfoService","id":200}';
    expect((await changeOf(parse, messageOf(text))).record).toBe(text);
  });

  it('may turn the record into another, which is then what is stored', async () => {
    const record = z.object({
      id: z.number(),
      name: z.string().default('unnamed'),
      version: z.coerce.string(),
    });
    const change = await changeOf(parserOf({ checkRecord: checkOf(record) }), messageOf(product));
    expect(change.record).toBe('{"id":200,"name":"unnamed","version":"5"}');
  });

  it('that return what JSON cannot hold are refused', async () => {
    const big = z.looseObject({}).transform(() => ({ n: 1n }));
    expect(await codeOf(parserOf({ checkRecord: checkOf(big) }), messageOf(product))).toBe(
      'E_MESSAGE_INVALID',
    );
    const nothing = z.looseObject({}).transform(() => undefined);
    expect(await codeOf(parserOf({ checkRecord: checkOf(nothing) }), messageOf(product))).toBe(
      'E_MESSAGE_INVALID',
    );
  });

  it('may be asynchronous, and only then is there a promise', async () => {
    const late = z.looseObject({ id: z.number().refine(async (id) => Promise.resolve(id < 1_000)) });
    const parse = parserOf({ checkMessage: lateCheck(late), checkRecord: lateCheck(late) });
    expect(parse(messageOf(product))).toBeInstanceOf(Promise);
    expect((await changeOf(parse, messageOf(product))).record).toBe(JSON.stringify(product));
    expect(await codeOf(parse, messageOf({ ...product, id: 2_000 }))).toBe('E_MESSAGE_INVALID');
  });

  it('that throw refuse the message', async () => {
    const broken = z.looseObject({}).refine(() => {
      throw new TypeError('oops');
    });
    const result = await parserOf({ checkMessage: checkOf(broken) })(messageOf(product));
    expect(result).toMatchObject({ kind: 'rejected', error: { code: 'E_MESSAGE_INVALID' } });
    expect(result.kind === 'rejected' && result.error.message).toContain('the schema failed: oops');
  });

  function lateCheck(schema: z.ZodType): ReturnType<typeof checkOf> {
    return checkOf({
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: async (value) => schema['~standard'].validate(value),
      },
    });
  }
});

describe('a decode function', () => {
  const decoding = (decode: (message: Message) => unknown, service: Partial<Service> = {}) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a decoder in plain JavaScript may return anything
    parserOf(service, { decode: decode as NonNullable<TopicMapping['decode']> });
  const one = { serviceId: 'productInfoService', id: 200, version: 5, record: { name: 'x' } };

  it('reads any bytes, null included', async () => {
    const parse = decoding(({ value }) => ({ ...one, id: value === null ? 'none' : 'some' }));
    expect((await changeOf(parse, messageOf(null))).id).toBe('none');
    expect((await changeOf(parse, messageOf('', { value: { base64: '//8=' } }))).id).toBe('some');
  });

  it('gives the record as a value or as JSON text, which is stored as it is', async () => {
    expect(
      (
        await changeOf(
          decoding(() => one),
          messageOf(''),
        )
      ).record,
    ).toBe('{"name":"x"}');
    const asText = decoding(() => ({ ...one, record: '{"name" : 1.10}' }));
    expect((await changeOf(asText, messageOf(''))).record).toBe('{"name" : 1.10}');
  });

  it('may find several changes, or nothing to do', async () => {
    const two = decoding(() => [one, { ...one, id: 201n, op: 'delete' }]);
    expect((await changesOf(two, messageOf(''))).map(({ id, op }) => [id, op])).toEqual([
      ['200', 'upsert'],
      ['201', 'delete'],
    ]);
    for (const nothing of [undefined, null, []]) {
      expect(
        await codeOf(
          decoding(() => nothing),
          messageOf(''),
        ),
      ).toBe('ignored');
    }
  });

  it('may give the version as its kind reads it or in its canonical form, or leave it to the rule', async () => {
    const version = async (raw: unknown, rule: VersionRule = base): Promise<string> =>
      versionOf(
        decoding(() => ({ ...one, version: raw, record: { version: 8 } }), { version: rule }),
        messageOf(''),
      );
    expect(await version(9_007_199_254_740_993n)).toBe('counter:9007199254740993');
    expect(await version('counter:7')).toBe('counter:7');
    expect(await version(undefined)).toBe('counter:8');
    expect(await version('2025-01-01T00:00:00Z', timeRule)).toBe('time:1735689600000000000');
    expect(await version('time:1735689600000000001', timeRule)).toBe('time:1735689600000000001');
    expect(await version('5', { ...base, from: 'offset', kind: 'offset' })).toBe('offset:17');
  });

  it.each([
    [
      'throws',
      'E_DECODE_FAILED',
      () => {
        throw new RangeError('oops');
      },
    ],
    ['returns a promise', 'E_DECODE_FAILED', async () => Promise.reject(new Error('late'))],
    ['returns a word', 'E_DECODE_FAILED', () => 'hello'],
    ['returns a list with a hole', 'E_DECODE_FAILED', () => [one, null]],
    ['gives no record for an inline service', 'E_DECODE_FAILED', () => ({ ...one, record: undefined })],
    ['gives text that is no JSON as a record', 'E_DECODE_FAILED', () => ({ ...one, record: 'hello' })],
    ['gives a record that JSON cannot hold', 'E_DECODE_FAILED', () => ({ ...one, record: { n: 1n } })],
    ['gives a function as a record', 'E_DECODE_FAILED', () => ({ ...one, record: () => 1 })],
    ['names an unknown service', 'E_SERVICE_UNKNOWN', () => ({ ...one, serviceId: 'other' })],
    ['names no service', 'E_SERVICE_MISSING', () => ({ ...one, serviceId: undefined })],
    ['gives no id', 'E_ID_MISSING', () => ({ ...one, id: undefined })],
    ['gives a fraction as id', 'E_ID_INVALID', () => ({ ...one, id: 1.5 })],
    ['gives an unknown op', 'E_OP_INVALID', () => ({ ...one, op: 'drop' })],
    ['gives a version that is none', 'E_VERSION_INVALID', () => ({ ...one, version: 'latest' })],
    ['gives a version of another kind', 'E_VERSION_INVALID', () => ({ ...one, version: 'time:5' })],
    ['finds one bad change among good ones', 'E_ID_INVALID', () => [one, { ...one, id: '' }]],
  ])('that %s is rejected with %s', async (_, code, decode) => {
    expect(await codeOf(decoding(decode), messageOf(''))).toBe(code);
  });

  it('gives a time that may not lie ahead either', async () => {
    const parse = decoding(() => ({ ...one, version: 'time:4070908800000000000' }), { version: timeRule });
    expect(await codeOf(parse, messageOf(''))).toBe('E_VERSION_AHEAD');
  });

  it('is not called for a message over the limit', async () => {
    let calls = 0;
    const parse = decoding(() => {
      calls += 1;
      return one;
    });
    expect(await codeOf(parse, messageOf('é'.repeat(5_001)))).toBe('E_MESSAGE_TOO_LARGE');
    expect(await codeOf(parse, messageOf('', { value: { base64: 'A'.repeat(13_340) } }))).toBe(
      'E_MESSAGE_TOO_LARGE',
    );
    expect(calls).toBe(0);
    expect(await codeOf(parse, messageOf('é'.repeat(5_000)))).toBe('changes');
  });

  it('may be followed by an asynchronous schema', async () => {
    const parse = decoding(() => [one, one], {
      checkRecord: async (value) => Promise.resolve({ ok: true, transformed: false, value }),
    });
    expect(await changesOf(parse, messageOf(''))).toHaveLength(2);
  });

  it('is rejected once, when one change fails at once and another later', async () => {
    const parse = decoding(() => [one, { ...one, id: '' }], {
      checkRecord: async () => Promise.reject(new Error('late')),
    });
    expect(await codeOf(parse, messageOf(''))).toBe('E_ID_INVALID');
  });
});

describe('an error of the program', () => {
  it('stays with its message as a failure to be retried, and is never thrown', async () => {
    const parse = parserOf({
      keyOf: () => {
        throw new TypeError('a bug');
      },
    });
    expect(await codeOf(parse, messageOf(product))).toBe('E_UNEXPECTED');
  });
});
