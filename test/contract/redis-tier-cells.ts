/**
 * The decision table of docs/versions.md, a line per cell: what stands under the key, what is asked, what is answered, and
 * what changed. Unless it says otherwise the stored value is 'old', written by orders-0@10, and the write is that of
 * `write()`: an upsert of 'new', version 5, by orders-0@20, with the fence not looked at.
 */
import { type Asked, counter } from './redis-tier-writes.ts';
import type { TierResult } from '../../src/core/ports.ts';

export interface Cell {
  readonly name: string;
  readonly fence: string | null;
  readonly value: string | null;
  readonly asked: Asked;
  /** A text is the code of the error the write fails with. */
  readonly result: TierResult | string;
  /** What differs afterwards; nothing when left out. */
  readonly leaves?: { readonly value?: string | null; readonly fence?: string };
}

const LIVE = '1|l|c|5|orders-0|0|10';
const DEAD = '1|t|c|5|orders-0|0|10';
const OBSERVED = '1|o|-||orders-0|0|10';
const AFTER = '1|l|c|5|orders-0|0|20';
const AFTER_DELETE = '1|t|c|5|orders-0|0|20';

const set: TierResult = { kind: 'set', note: '' };
const same: TierResult = { kind: 'same', note: '' };
const evicted: TierResult = { kind: 'evicted', note: '' };
const changed: TierResult = { kind: 'changed' };
const refused = (
  reason: 'older' | 'tombstone' | 'tie',
  { by = 'orders-0@10', version = 'counter:5' } = {},
): TierResult => ({ kind: 'refused', by, version, reason });
const at = (position: string, stream = 'orders-0', epoch = 0): Asked => ({
  origin: { stream, epoch, position },
});
const version = (digits: string): Asked => ({ version: counter(digits) });
const gone = (version: Asked['version']): Asked => ({
  op: 'delete',
  ...(version !== undefined && { version }),
});
const isSet = (fence: string): Pick<Cell, 'leaves'> => ({ leaves: { value: 'new', fence } });
const isGone = (fence: string): Pick<Cell, 'leaves'> => ({ leaves: { value: null, fence } });

type Row = readonly [name: string, asked: Asked, result: TierResult | string, leaves?: Pick<Cell, 'leaves'>];

function over(state: string, fence: string | null, value: string | null, rows: readonly Row[]): Cell[] {
  return rows.map(([name, asked, result, leaves]) => ({
    name: `${state}: ${name}`,
    fence,
    value,
    asked,
    result,
    ...leaves,
  }));
}

const live = over('live, value there', LIVE, 'old', [
  ['a lower version is refused', version('4'), refused('older')],
  ['a higher version is set', version('6'), set, isSet('1|l|c|6|orders-0|0|20')],
  ['a version with more digits is higher', version('10'), set, isSet('1|l|c|10|orders-0|0|20')],
  ['the same version and message is the same', at('10'), same],
  ['the same version of a later message is set', {}, set, isSet(AFTER)],
  ['the same version of an earlier message is refused', at('9'), refused('older')],
  [
    'positions are compared as decimals',
    at('9'.repeat(20)),
    set,
    isSet(`1|l|c|5|orders-0|0|${'9'.repeat(20)}`),
  ],
  [
    'the same version of another stream with the same bytes is the same',
    { ...at('1', 'other-0'), text: 'old' },
    same,
  ],
  [
    'the same version of another stream with other bytes is a tie and keeps what is stored',
    at('99', 'other-0'),
    refused('tie'),
  ],
  ['the same version of another epoch with other bytes is a tie', at('99', 'orders-0', 1), refused('tie')],
  ['a lower delete is refused', gone(counter('4')), refused('older')],
  ['a delete of the same version wins', gone(counter('5')), evicted, isGone(AFTER_DELETE)],
  [
    'a delete of the same version wins even if its message is earlier',
    { ...gone(counter('5')), ...at('9') },
    evicted,
    isGone('1|t|c|5|orders-0|0|9'),
  ],
  ['a higher delete evicts', gone(counter('6')), evicted, isGone('1|t|c|6|orders-0|0|20')],
  [
    'a fence that changed since it was seen still decides by version',
    { ...version('6'), seen: '1|l|c|1|orders-0|0|1' },
    set,
    isSet('1|l|c|6|orders-0|0|20'),
  ],
  [
    'a fence that came since none was seen still decides by version',
    { ...version('4'), seen: null },
    refused('older'),
  ],
]);

const expired = over('live, value missing', LIVE, null, [
  ['a lower version is refused', version('4'), refused('older')],
  ['a higher version is set', version('6'), set, isSet('1|l|c|6|orders-0|0|20')],
  ['the same message is set again', at('10'), set, isSet(LIVE)],
  ['the same version of another stream is set', at('1', 'other-0'), set, isSet('1|l|c|5|other-0|0|1')],
  ['the same version of an earlier message is refused', at('9'), refused('older')],
  ['a delete of the same version leaves a tombstone', gone(counter('5')), evicted, isGone(AFTER_DELETE)],
]);

const tombstone = over('tombstone', DEAD, null, [
  ['a lower version is refused', version('4'), refused('older')],
  ['the same version is refused, a tie belongs to the delete', {}, refused('tombstone')],
  ['the same version of another stream is refused', at('99', 'other-0'), refused('tombstone')],
  ['a higher version is set', version('6'), set, isSet('1|l|c|6|orders-0|0|20')],
  ['a lower delete is refused', gone(counter('4')), refused('older')],
  ['the same delete again has evicted', gone(counter('5')), evicted],
  ['a higher delete moves the tombstone', gone(counter('6')), evicted, isGone('1|t|c|6|orders-0|0|20')],
]);

const nothing = over('no fence, no value', null, null, [
  ['an inline record is set', {}, set, isSet(AFTER)],
  ['a just-read record is set', { seen: null }, set, isSet(AFTER)],
  ['a record read under a fence that is gone is read again', { seen: LIVE }, changed],
  ['a record read under an observed tombstone that is gone is read again', { seen: OBSERVED }, changed],
  ['a delete leaves a tombstone', gone(counter('5')), evicted, isGone(AFTER_DELETE)],
  [
    'a delete without version leaves an observed tombstone',
    { ...gone(null), seen: null },
    evicted,
    isGone('1|o|-||orders-0|0|20'),
  ],
  ['a delete without version that did not look must look', gone(null), changed],
  ['a delete without version whose fence is gone must look again', { ...gone(null), seen: LIVE }, changed],
]);

const unfenced = over('no fence, a value', null, 'old', [
  ['an inline record is set and noted', {}, { kind: 'set', note: 'unfencedInline' }, isSet(AFTER)],
  [
    'a just-read record is set and noted',
    { seen: null },
    { kind: 'set', note: 'unfencedValue' },
    isSet(AFTER),
  ],
  ['a record read under a fence that is gone is read again', { seen: LIVE }, changed],
  [
    'a delete evicts and is noted',
    gone(counter('5')),
    { kind: 'evicted', note: 'unfencedInline' },
    isGone(AFTER_DELETE),
  ],
  [
    'a delete that looked evicts and is noted',
    { ...gone(counter('5')), seen: null },
    { kind: 'evicted', note: 'unfencedValue' },
    isGone(AFTER_DELETE),
  ],
  [
    'a delete without version evicts and is noted',
    { ...gone(null), seen: null },
    { kind: 'evicted', note: 'unfencedValue' },
    isGone('1|o|-||orders-0|0|20'),
  ],
]);

const observed = over('observed tombstone', OBSERVED, null, [
  ['yields to a just-read record', { seen: OBSERVED }, set, isSet(AFTER)],
  ['yields to an inline record, noted', {}, { kind: 'set', note: 'unfencedInline' }, isSet(AFTER)],
  ['a record read before it was observed is read again', { seen: null }, changed],
  ['a record read under an earlier one is read again', { seen: '1|o|-||orders-0|0|7' }, changed],
  ['a record read under a live fence is read again', { seen: LIVE }, changed],
  ['a delete with a version gives it one', gone(counter('5')), evicted, isGone(AFTER_DELETE)],
  [
    'a delete without version moves it',
    { ...gone(null), seen: OBSERVED },
    evicted,
    isGone('1|o|-||orders-0|0|20'),
  ],
  [
    'a delete without version of the same message has evicted',
    { ...gone(null), ...at('10'), seen: null },
    evicted,
  ],
  [
    'a delete without version of an earlier message is refused',
    { ...gone(null), ...at('9'), seen: OBSERVED },
    refused('older', { version: '' }),
  ],
]);

const unversioned = [
  ...over('delete without version', LIVE, 'old', [
    [
      'over the fence it saw evicts and keeps the version',
      { ...gone(null), seen: LIVE },
      evicted,
      isGone(AFTER_DELETE),
    ],
    ['over another fence must look again', { ...gone(null), seen: '1|l|c|4|orders-0|0|8' }, changed],
    ['over a fence where it saw none must look again', { ...gone(null), seen: null }, changed],
    ['over a fence it did not look at must look', gone(null), changed],
    [
      'of an earlier message is refused, whatever it saw',
      { ...gone(null), ...at('9'), seen: LIVE },
      refused('older'),
    ],
    [
      'of an earlier message of another epoch goes by what it saw',
      { ...gone(null), ...at('9', 'orders-0', 1), seen: LIVE },
      evicted,
      isGone('1|t|c|5|orders-0|1|9'),
    ],
  ]),
  ...over('delete without version', DEAD, null, [
    [
      'over the tombstone it saw keeps its version',
      { ...gone(null), seen: DEAD },
      evicted,
      isGone(AFTER_DELETE),
    ],
    ['sent twice has evicted', { ...gone(null), ...at('10'), seen: LIVE }, evicted],
  ]),
];

const TIME: Asked['version'] = { kind: 'time', digits: '1767225600000000000' };
const offset = (digits: string): Asked => ({ version: { kind: 'offset', digits } });
const OFFSET = '1|l|o|10|orders-0|1|10';
const mismatch = (stored: string): TierResult => ({ kind: 'kindMismatch', stored });
const refusedOffset = refused('older', { version: 'offset:10' });

const kinds = [
  ...over('kinds differ', LIVE, 'old', [
    ['an upsert is not compared', { version: TIME }, mismatch('counter')],
    ['a delete is not compared', gone(TIME), mismatch('counter')],
  ]),
  ...over('kinds differ', DEAD, null, [['nor with a tombstone', { version: TIME }, mismatch('counter')]]),
  ...over('offsets', OFFSET, 'old', [
    [
      'a higher one of the same epoch is set',
      { ...offset('11'), ...at('11', 'orders-0', 1) },
      set,
      isSet('1|l|o|11|orders-0|1|11'),
    ],
    [
      'a lower one of the same epoch is refused',
      { ...offset('9'), ...at('9', 'orders-0', 1) },
      refusedOffset,
    ],
    [
      'a lower one of a later epoch is set: the topic began anew',
      { ...offset('0'), ...at('0', 'orders-0', 2) },
      set,
      isSet('1|l|o|0|orders-0|2|0'),
    ],
    [
      'a higher one of an earlier epoch is refused',
      { ...offset('99'), ...at('99', 'orders-0', 0) },
      refusedOffset,
    ],
    [
      'one of another stream is not compared',
      { ...offset('99'), ...at('99', 'orders-1', 1) },
      mismatch('offset of orders-0'),
    ],
  ]),
];

const ULID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const ulids = over('positions that are no decimals', `1|l|c|5|http|0|${ULID}`, 'old', [
  [
    'a later one is set',
    at('01BX5ZZKBKACTAV9WEVGEMMVRZ', 'http'),
    set,
    isSet('1|l|c|5|http|0|01BX5ZZKBKACTAV9WEVGEMMVRZ'),
  ],
  [
    'an earlier one is refused',
    at('01ARZ3NDEKTSV4RRFFQ69G5FAA', 'http'),
    refused('older', { by: `http@${ULID}` }),
  ],
  ['the same one is the same', at(ULID, 'http'), same],
]);

const foreign = [
  ...over('another type under the key', null, 'foreign', [
    ['fails an upsert', { seen: null }, 'E_REDIS_WRITE'],
    ['fails a delete', gone(counter('6')), 'E_REDIS_WRITE'],
  ]),
  ...over('another type under the key, live fence', LIVE, 'foreign', [
    ['fails a higher version', version('6'), 'E_REDIS_WRITE'],
    ['fails the same version', at('10'), 'E_REDIS_WRITE'],
    ['fails a delete', gone(counter('6')), 'E_REDIS_WRITE'],
    ['fails a delete without version', { ...gone(null), seen: LIVE }, 'E_REDIS_WRITE'],
    ['fails a write with a TTL', { ...version('6'), ttlMs: 1_000 }, 'E_REDIS_WRITE'],
  ]),
  ...over('another type under the key, observed tombstone', OBSERVED, 'foreign', [
    ['fails an upsert', {}, 'E_REDIS_WRITE'],
  ]),
  ...over('another type under the fence key', 'foreign', 'old', [
    ['fails an upsert', { seen: null }, 'E_REDIS_WRITE'],
    ['fails a delete', gone(counter('6')), 'E_REDIS_WRITE'],
  ]),
  ...over('a fence of a newer format', '2|l|c|5|orders-0|0|10|more', 'old', [
    ['fails an upsert until an upgrade', version('6'), 'E_FORMAT_NEWER'],
    ['fails a delete without version', { ...gone(null), seen: null }, 'E_FORMAT_NEWER'],
  ]),
  ...over('a text under the fence key that is no fence', 'hello', 'old', [
    ['fails an upsert', version('6'), 'E_REDIS_WRITE'],
  ]),
];

export const cells: readonly Cell[] = [
  ...live,
  ...expired,
  ...tombstone,
  ...nothing,
  ...unfenced,
  ...observed,
  ...unversioned,
  ...kinds,
  ...ulids,
  ...foreign,
];
