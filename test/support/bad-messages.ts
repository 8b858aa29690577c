/**
 * Bad messages, and odd ones that must pass, each with what is expected of it. The unit suite sends them through `parse`,
 * the integration suite through real Kafka.
 */
import type { ErrorCode } from '../../src/core/errors.ts';

export interface BadMessage {
  readonly name: string;
  /** `tombstones` is mapped, see {@link badMessageTopics}; the others arrive on a topic in the original's form. */
  readonly topic?: 'tombstones';
  readonly key?: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly expect:
    | { readonly code: ErrorCode }
    /** `version` as `kind:digits`; `timestamp`: the message's own time; `none`: a delete without one. */
    | { readonly key: string; readonly version: string; readonly op?: 'delete' };
}

/** The services these messages are for, as a configuration has them. */
export const badMessageServices = {
  productInfoService: {
    source: { type: 'inline' },
    key: 'product_info_{id}',
    version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
  },
  stockService: {
    source: { type: 'inline' },
    key: 'stock_{id}',
    version: { from: 'record', field: 'version', kind: 'counter' },
  },
  orderService: {
    source: { type: 'inline' },
    key: 'order_{id}',
    version: { from: 'record', field: 'at', kind: 'time' },
  },
} as const;

/** How the topics are read, as a configuration has them. */
export const badMessageTopics = {
  tombstones: { service: 'stockService', id: 'key', nullValue: 'delete' },
} as const;

/** Kafka must take messages of 6 MB for the largest of them. */
export const badMessageLimits = { maxMessageBytes: 1_000_000, maxDepth: 64 } as const;

const json = (value: unknown): string => JSON.stringify(value);
const stock = (id: unknown, more: object = { version: 1 }): string =>
  json({ serviceId: 'stockService', id, ...more });
/** A stock message with a version as raw JSON text. */
const versioned = (version: string): string => `{"serviceId":"stockService","id":1,"version":${version}}`;
const ordered = (at: unknown): string => json({ serviceId: 'orderService', id: 1, at });

const refused = (code: ErrorCode, cases: Readonly<Record<string, string | Buffer>>): BadMessage[] =>
  Object.entries(cases).map(([name, value]) => ({ name, value, expect: { code } }));
const accepted = (
  cases: Readonly<Record<string, readonly [value: string, key: string, version: string]>>,
): BadMessage[] =>
  Object.entries(cases).map(([name, [value, key, version]]) => ({ name, value, expect: { key, version } }));

const bodies: readonly BadMessage[] = [
  { name: 'no value where none is foreseen', value: null, expect: { code: 'E_MESSAGE_EMPTY' } },
  ...refused('E_MESSAGE_EMPTY', { 'an empty value': '' }),
  ...refused('E_MESSAGE_NOT_JSON', {
    'plain text': 'hello',
    'only spaces': '   ',
    'a truncated object': '{"serviceId":"stockService","id":1',
    'single quotes': "{'serviceId':'stockService','id':1}",
    'a trailing comma': '{"serviceId":"stockService","id":1,}',
    'two objects': '{"serviceId":"stockService","id":1} {}',
    'a byte order mark': `\uFEFF${stock(1)}`,
    'NaN as a value': versioned('NaN'),
    'a raw control character in a string': '{"serviceId":"stock\u0001Service","id":1}',
    XML: '<message><serviceId>stockService</serviceId></message>',
  }),
  ...refused('E_MESSAGE_NOT_UTF8', {
    'bytes that are no UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
    'JSON in UTF-16': Buffer.from(stock(1).replace('stock', 'stöck'), 'latin1'),
    'an overlong encoding': Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d]),
  }),
  ...refused('E_MESSAGE_NOT_OBJECT', {
    'an array': `[${stock(1)}]`,
    'a number': '42',
    'a string': '"hello"',
    'a boolean': 'true',
    'the word null': 'null',
  }),
  ...refused('E_MESSAGE_TOO_LARGE', {
    'five megabytes': stock(1, { version: 1, fill: 'x'.repeat(5_000_000) }),
  }),
  ...refused('E_MESSAGE_TOO_DEEP', {
    'arrays 200,000 levels deep': `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
    'objects 100,000 levels deep': `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
    'brackets that never close': '['.repeat(200_000),
    'one level too many': `{"a":${'['.repeat(64)}${']'.repeat(64)}}`,
  }),
  ...refused('E_MESSAGE_FORBIDDEN_KEY', {
    'a __proto__ key': '{"serviceId":"stockService","id":1,"version":1,"__proto__":{"isAdmin":true}}',
    'a __proto__ key further down': '{"serviceId":"stockService","id":1,"version":1,"a":[{"__proto__":1}]}',
    'an escaped __proto__ key': '{"serviceId":"stockService","id":1,"version":1,"\\u005f\\u005Fproto__":{}}',
    'a __proto__ key with an escaped letter':
      '{"serviceId":"stockService","id":1,"version":1,"__pr\\u006fto__":{}}',
    'a constructor with a prototype':
      '{"serviceId":"stockService","id":1,"version":1,"constructor":{"prototype":{"a":1}}}',
    'an escaped constructor with a prototype':
      '{"serviceId":"stockService","id":1,"version":1,"\\u0063onstructor":{"\\u0070rototype":{"a":1}}}',
  }),
  ...accepted({
    'brackets inside strings': [stock(1, { version: 1, text: '[{'.repeat(500) }), 'stock_1', 'counter:1'],
    'exactly as many levels as allowed': [
      `{"serviceId":"stockService","id":1,"version":1,"a":${'['.repeat(63)}${']'.repeat(63)}}`,
      'stock_1',
      'counter:1',
    ],
    'a constructor that is a word': [stock(1, { version: 1, constructor: 'ACME' }), 'stock_1', 'counter:1'],
    'the text __proto__ as a value': [stock(1, { version: 1, name: '__proto__' }), 'stock_1', 'counter:1'],
    'spaces and line breaks between the fields': [
      '\r\n { "serviceId" : "stockService" ,\n "id" : 1 ,\t"version" : 9007199254740993 } \n',
      'stock_1',
      'counter:9007199254740993',
    ],
  }),
];

const services: readonly BadMessage[] = [
  ...refused('E_SERVICE_MISSING', {
    'no serviceId': json({ id: 1, version: 1 }),
    'an empty object': '{}',
    'an empty serviceId': json({ serviceId: '', id: 1 }),
    'a number as serviceId': json({ serviceId: 7, id: 1 }),
    'an array as serviceId': json({ serviceId: ['stockService'], id: 1 }),
    'null as serviceId': json({ serviceId: null, id: 1 }),
  }),
  ...refused('E_SERVICE_UNKNOWN', {
    'an unknown service': json({ serviceId: 'noSuchService', id: 1 }),
    'a service in other letters': json({ serviceId: 'StockService', id: 1 }),
    'a service named like a method of objects': json({ serviceId: 'toString', id: 1 }),
  }),
  ...refused('E_OP_INVALID', {
    'an unknown op': stock(1, { op: 'replace', version: 1 }),
    'an op in capitals': stock(1, { op: 'DELETE', version: 1 }),
    'an empty op': stock(1, { op: '', version: 1 }),
    'a boolean op': stock(1, { op: true, version: 1 }),
    'an object as op': stock(1, { op: { delete: true }, version: 1 }),
  }),
];

const ids: readonly BadMessage[] = [
  ...refused('E_ID_MISSING', {
    'no id': json({ serviceId: 'stockService', version: 1 }),
    'null as id': stock(null),
  }),
  ...refused('E_ID_INVALID', {
    'an empty id': stock(''),
    'a float as id': stock(1.5),
    'a boolean as id': stock(true),
    'an object as id': stock({ $oid: '1' }),
    'an array as id': stock([1]),
    'an exponent as id': '{"serviceId":"stockService","id":2e2,"version":1}',
    'a float beyond 2^53 as id': '{"serviceId":"stockService","id":9007199254740993.5,"version":1}',
    'a float that rounds to an integer as id':
      '{"serviceId":"stockService","id":200.00000000000000001,"version":1}',
  }),
  ...refused('E_KEY_INVALID', {
    'an id of 10 KB': stock('a'.repeat(10_240)),
    'an integer of 600 digits as id': `{"serviceId":"stockService","id":${'7'.repeat(600)},"version":1}`,
    'an id that is too long once escaped': stock('é'.repeat(100)),
    'half of a surrogate pair as id': '{"serviceId":"stockService","id":"a\\ud83d","version":1}',
  }),
  ...accepted({
    'an integer beyond 2^53 as id': [
      '{"serviceId":"stockService","id":9007199254740993,"version":1}',
      'stock_9007199254740993',
      'counter:1',
    ],
    'an id that is named twice': [
      '{"serviceId":"stockService","id":1,"version":1,"id":9007199254740995}',
      'stock_9007199254740995',
      'counter:1',
    ],
    'a negative integer as id': [stock(-5), 'stock_-5', 'counter:1'],
    'zero as id': [stock(0), 'stock_0', 'counter:1'],
    'an id with a path in it': [stock('../../etc/passwd'), 'stock_..%2F..%2Fetc%2Fpasswd', 'counter:1'],
    'an id with a colon': [stock('a:b'), 'stock_a%3Ab', 'counter:1'],
    'an id with braces': [stock('{other}'), 'stock_%7Bother%7D', 'counter:1'],
    'an id with globs': [stock('*?[a-z]'), 'stock_%2A%3F%5Ba-z%5D', 'counter:1'],
    'an id with CR, LF and NUL': [stock('a\r\nb\0'), 'stock_a%0D%0Ab%00', 'counter:1'],
    'an id that looks escaped': [stock('%7Bother%7D'), 'stock_%257Bother%257D', 'counter:1'],
    'an id with spaces and quotes': [stock(' "a\' '), 'stock_%20%22a%27%20', 'counter:1'],
    'an id in Unicode': [stock('čaj☕'), 'stock_%C4%8Daj%E2%98%95', 'counter:1'],
    'an id made of two pointers': [stock('a~1b/c'), 'stock_a%7E1b%2Fc', 'counter:1'],
  }),
];

const counters: readonly BadMessage[] = [
  ...refused('E_VERSION_MISSING', {
    'no version': stock(1, {}),
    'null as version': stock(1, { version: null }),
  }),
  ...refused('E_VERSION_INVALID', {
    'a negative version': versioned('-1'),
    'a negative version as text': versioned('"-1"'),
    'a version with a fraction': versioned('1.5'),
    'a version with a fraction as text': versioned('"1.0"'),
    'a version beyond 2^53 with a fraction': versioned('9007199254740993.25'),
    'a version that rounds to an integer': versioned('1.00000000000000000001'),
    'a version with an exponent': versioned('1e3'),
    'a version with an exponent as text': versioned('"1e3"'),
    'a version so large that JavaScript says Infinity': versioned('1e999'),
    'a version of 101 digits': versioned('9'.repeat(101)),
    'a version of 101 digits as text': versioned(`"${'9'.repeat(101)}"`),
    'an empty version': versioned('""'),
    'a version with spaces': versioned('" 1"'),
    'a version in hexadecimal': versioned('"0x10"'),
    'a word as version': versioned('"latest"'),
    'a boolean as version': versioned('true'),
    'an object as version': versioned('{"n":1}'),
    'an array as version': versioned('[1]'),
  }),
  ...accepted({
    'a version beyond 2^53': [versioned('9007199254740993'), 'stock_1', 'counter:9007199254740993'],
    'a version of 30 digits': [
      versioned('123456789012345678901234567890'),
      'stock_1',
      'counter:123456789012345678901234567890',
    ],
    'a version of 30 digits as text': [
      versioned('"123456789012345678901234567890"'),
      'stock_1',
      'counter:123456789012345678901234567890',
    ],
    'a version of 100 digits': [versioned('9'.repeat(100)), 'stock_1', `counter:${'9'.repeat(100)}`],
    'a version with leading zeros': [versioned('"007"'), 'stock_1', 'counter:7'],
    'version zero': [versioned('0'), 'stock_1', 'counter:0'],
    'a version with a fraction of zeros': [versioned('5.0'), 'stock_1', 'counter:5'],
  }),
];

const times: readonly BadMessage[] = [
  ...refused('E_VERSION_MISSING', { 'no time': ordered(undefined) }),
  ...refused('E_VERSION_INVALID', {
    'a word as time': ordered('yesterday'),
    'an empty time': ordered(''),
    'the 30th of February': ordered('2024-02-30T00:00:00Z'),
    'a leap day in a common year': ordered('2023-02-29T00:00:00Z'),
    'month 13': ordered('2024-13-01T00:00:00Z'),
    'hour 24': ordered('2024-01-01T24:00:00Z'),
    'a time without a zone': ordered('2024-01-01T00:00:00'),
    'a date without a time': ordered('2024-01-01'),
    'an American date': ordered('01/02/2024 10:00:00'),
    'a zone by name': ordered('2024-01-01T00:00:00 Europe/Berlin'),
    'an impossible zone': ordered('2024-01-01T00:00:00+25:00'),
    'ten digits below the second': ordered('2024-01-01T00:00:00.0123456789Z'),
    'a time before 1970': ordered('1969-12-31T23:59:59Z'),
    'negative epoch milliseconds': ordered(-1),
    'epoch nanoseconds': ordered('1704067200000000000'),
    'epoch milliseconds with an exponent': ordered('1.7e12'),
    'a boolean as time': ordered(false),
    'an object as time': ordered({ $date: '2024-01-01T00:00:00Z' }),
  }),
  ...refused('E_VERSION_AHEAD', {
    'a time in 2099': ordered('2099-01-01T00:00:00Z'),
    'epoch milliseconds in 2099': ordered(4_070_908_800_000),
    'epoch microseconds': ordered(1_704_067_200_000_000),
  }),
  ...accepted({
    'nine digits below the second': [
      ordered('2024-01-01T00:00:00.123456789Z'),
      'order_1',
      'time:1704067200123456789',
    ],
    'zeros beyond the ninth digit': [
      ordered('2024-01-01T00:00:00.12345678900Z'),
      'order_1',
      'time:1704067200123456789',
    ],
    'a zone offset': [ordered('2024-01-01T02:00:00.5+02:00'), 'order_1', 'time:1704067200500000000'],
    'a space in the place of the T': [
      ordered('2024-01-01 00:00:00.123456+00'),
      'order_1',
      'time:1704067200123456000',
    ],
    'epoch milliseconds': [ordered(1_704_067_200_123), 'order_1', 'time:1704067200123000000'],
    'epoch milliseconds with a fraction': [
      ordered(1_704_067_200_123.25),
      'order_1',
      'time:1704067200123250000',
    ],
    'no time where the timestamp stands in': [
      json({ serviceId: 'productInfoService', id: 200 }),
      'product_info_200',
      'timestamp',
    ],
  }),
];

const deletes: readonly BadMessage[] = [
  {
    name: 'a delete without a version',
    value: stock(1, { op: 'delete' }),
    expect: { key: 'stock_1', version: 'none', op: 'delete' },
  },
  {
    name: 'a delete with a version that is none',
    value: stock(1, { op: 'delete', version: 'latest' }),
    expect: { code: 'E_VERSION_INVALID' },
  },
  {
    name: 'no value where it means a delete',
    topic: 'tombstones',
    key: '9007199254740993',
    value: null,
    expect: { key: 'stock_9007199254740993', version: 'none', op: 'delete' },
  },
  {
    name: 'neither key nor value',
    topic: 'tombstones',
    key: null,
    value: null,
    expect: { code: 'E_ID_MISSING' },
  },
  {
    name: 'an empty key as id',
    topic: 'tombstones',
    key: '',
    value: null,
    expect: { code: 'E_ID_INVALID' },
  },
  {
    name: 'a key that is no UTF-8 as id',
    topic: 'tombstones',
    key: Buffer.from([0xff, 0xfe]),
    value: null,
    expect: { code: 'E_ID_INVALID' },
  },
  {
    name: 'a message without a key where the key is the id',
    topic: 'tombstones',
    key: null,
    value: json({ version: 1 }),
    expect: { code: 'E_ID_MISSING' },
  },
];

export const badMessages: readonly BadMessage[] = [
  ...bodies,
  ...services,
  ...ids,
  ...counters,
  ...times,
  ...deletes,
];
