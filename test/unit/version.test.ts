import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CachewrightError } from '../../src/core/errors.ts';
import type { Version, VersionRule } from '../../src/core/service.ts';
import {
  compareDigits,
  compareVersions,
  describeVersion,
  formatVersion,
  parseVersion,
  readVersion,
  versionFromOffset,
  versionFromTimestamp,
} from '../../src/core/version.ts';

const NOW = Date.parse('2026-06-01T00:00:00Z');
const counterRule: VersionRule = {
  from: 'record',
  path: ['version'],
  kind: 'counter',
  missing: 'reject',
  maxAheadMs: 60_000,
  timezone: undefined,
};
const timeRule: VersionRule = { ...counterRule, path: ['at'], kind: 'time' };

const counter = (raw: unknown, source?: string): string => readVersion(counterRule, raw, source, NOW).digits;
const time = (raw: unknown, timezone?: string): string =>
  readVersion({ ...timeRule, timezone }, raw, undefined, NOW).digits;
const nanoseconds = (iso: string): string => `${Date.parse(iso)}000000`;

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    return thrown instanceof CachewrightError ? thrown.code : String(thrown);
  }
  return 'none';
}

describe('comparing versions', () => {
  it('orders canonical decimals of any length as the numbers they are', () => {
    const decimal = fc.bigInt({ min: 0n, max: 10n ** 40n });
    fc.assert(
      fc.property(decimal, decimal, (a, b) => {
        const order = a === b ? 0 : a < b ? -1 : 1;
        expect(compareDigits(String(a), String(b))).toBe(order);
      }),
    );
  });

  it('refuses to compare versions of different kinds', () => {
    const one: Version = { kind: 'counter', digits: '1' };
    expect(codeOf(() => compareVersions(one, { kind: 'time', digits: '1' }))).toBe('E_UNEXPECTED');
    expect(compareVersions(one, { kind: 'counter', digits: '10' })).toBe(-1);
  });
});

describe('the text of a version', () => {
  it('is read back as it was written', () => {
    const version = fc.record({
      kind: fc.constantFrom('counter' as const, 'time' as const, 'offset' as const),
      digits: fc.bigInt({ min: 0n }).map(String),
    });
    fc.assert(
      fc.property(version, (one) => {
        expect(parseVersion(formatVersion(one))).toEqual(one);
      }),
    );
  });

  it.each(['', 'counter', 'counter:', 'counter:01', 'counter:-1', 'epoch:1', 'counter:1 ', '42'])(
    'is not read from %j',
    (text) => {
      expect(parseVersion(text)).toBeNull();
    },
  );

  it('shows a person the number, the full time, or the offset', () => {
    expect(describeVersion({ kind: 'counter', digits: '42' })).toBe('42');
    expect(describeVersion({ kind: 'time', digits: '1767225600123456789' })).toBe(
      '2026-01-01T00:00:00.123456789Z',
    );
    expect(describeVersion({ kind: 'time', digits: '5' })).toBe('1970-01-01T00:00:00.000000005Z');
    expect(describeVersion({ kind: 'time', digits: '9'.repeat(40) })).toBe(`${'9'.repeat(40)} ns`);
    expect(describeVersion({ kind: 'offset', digits: '17' })).toBe('offset 17');
  });
});

describe('a counter', () => {
  it('is the same from a number, a text and a bigint', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (n) => {
        expect(counter(n)).toBe(String(n));
        expect(counter(String(n))).toBe(String(n));
        expect(counter(BigInt(n))).toBe(String(n));
      }),
    );
  });

  it('beyond 2^53 is taken from the source text, digit by digit', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 99n }), (n) => {
        expect(counter(Number(n), String(n))).toBe(String(n));
      }),
    );
  });

  it('beyond 2^53 is refused when the source text is not known', () => {
    expect(codeOf(() => counter(2 ** 53))).toBe('E_VERSION_INVALID');
    expect(codeOf(() => counter(-1n))).toBe('E_VERSION_INVALID');
  });

  it('loses its leading zeros, but not its last one', () => {
    expect(counter('000')).toBe('0');
    expect(counter('0042')).toBe('42');
    expect(counter(`${'0'.repeat(200)}7`)).toBe('7');
  });

  it.each([-1, 1.5, Number.NaN, Infinity, '', ' 1', '+1', '1_000', '१', true, [], {}, 'x'.repeat(9)])(
    'is not %j',
    (raw) => {
      expect(codeOf(() => counter(raw))).toBe('E_VERSION_INVALID');
    },
  );

  it.each([undefined, null])('is missing when it is %j', (raw) => {
    expect(codeOf(() => counter(raw))).toBe('E_VERSION_MISSING');
  });
});

describe('a time', () => {
  it('of any ISO form that JavaScript writes has the same milliseconds', () => {
    const date = fc.date({ min: new Date(0), max: new Date(NOW), noInvalidDate: true });
    fc.assert(
      fc.property(date, (at) => {
        expect(time(at.toISOString())).toBe(time(at.getTime()));
        expect(BigInt(time(at.toISOString()))).toBe(BigInt(at.getTime()) * 1_000_000n);
      }),
    );
  });

  it('keeps every digit below the second, and no two times fall together', () => {
    const fraction = fc.stringMatching(/^\d{1,9}$/);
    fc.assert(
      fc.property(fraction, (digits) => {
        expect(time(`2026-01-01T00:00:00.${digits}Z`)).toBe(`1767225600${digits.padEnd(9, '0')}`);
      }),
    );
  });

  it.each([
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'],
    ['2026-01-01T00:00Z', '2026-01-01T00:00:00Z'],
    ['2026-01-01 00:00:00z', '2026-01-01T00:00:00Z'],
    ['2026-01-01t05:30:00+05:30', '2026-01-01T00:00:00Z'],
    ['2025-12-31T19:00:00-0500', '2026-01-01T00:00:00Z'],
    ['2026-01-01 01:00:00+01', '2026-01-01T00:00:00Z'],
    ['2026-01-01T00:00:00-00:00', '2026-01-01T00:00:00Z'],
    ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00Z'],
    ['2000-02-29T12:00:00Z', '2000-02-29T12:00:00Z'],
    ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00Z'],
    ['1969-12-31T23:00:00-02:00', '1970-01-01T01:00:00Z'],
  ])('reads %s', (text, same) => {
    expect(time(text)).toBe(nanoseconds(same).replace(/^0+(?=\d)/, ''));
  });

  it.each([
    '2026-00-01T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2100-02-29T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00,5Z',
    '2026-01-01T00:00:00 Z',
    '2026-01-01T00:00:00Z ',
    '2026-01-01T00:00:00+02:00Z',
    '2026-01-01T00:00:00+2',
    '2026-01-01T0:00:00Z',
    '2026-01-01X00:00:00Z',
    '2026-1-1T00:00:00Z',
    '0070-01-01T00:00:00Z',
    '20260101T000000Z',
    '+002026-01-01T00:00:00Z',
    '1767225600000.1234567',
    '-1',
    '1e12',
    '',
  ])('is not %j', (text) => {
    expect(codeOf(() => time(text))).toBe('E_VERSION_INVALID');
  });

  it('says how many digits are too many', () => {
    expect(() => time('2026-01-01T00:00:00.1234567891Z')).toThrow('more than 9 digits below the second');
  });

  it('may lie as far ahead of the clock as the rule allows, and no further', () => {
    expect(time(NOW + 60_000)).toBe(`${NOW + 60_000}000000`);
    expect(codeOf(() => time(NOW + 60_001))).toBe('E_VERSION_AHEAD');
    expect(codeOf(() => time('2099-01-01T00:00:00Z'))).toBe('E_VERSION_AHEAD');
  });
});

describe('a time without a zone', () => {
  it('is refused unless the rule names one', () => {
    expect(() => time('2026-01-01T00:00:00')).toThrow('names no zone');
  });

  it.each([
    ['2026-01-15T12:00:00', 'Europe/Berlin', '2026-01-15T11:00:00Z'],
    ['2025-07-15T12:00:00', 'Europe/Berlin', '2025-07-15T10:00:00Z'],
    ['2025-07-15 12:00:00.5', 'Asia/Kolkata', '2025-07-15T06:30:00.500Z'],
    ['2025-07-15T12:00:00', 'Asia/Kathmandu', '2025-07-15T06:15:00Z'],
    ['2025-07-15T12:00:00', 'UTC', '2025-07-15T12:00:00Z'],
    ['2025-03-09T03:00:00', 'America/New_York', '2025-03-09T07:00:00Z'],
    ['2025-03-09T01:59:59', 'America/New_York', '2025-03-09T06:59:59Z'],
    ['2025-10-26T01:59:59', 'Europe/Berlin', '2025-10-25T23:59:59Z'],
    ['2025-10-26T03:00:00', 'Europe/Berlin', '2025-10-26T02:00:00Z'],
    ['2011-12-31T00:00:00', 'Pacific/Apia', '2011-12-30T10:00:00Z'],
    ['1971-06-01T00:00:00', 'Africa/Monrovia', '1971-06-01T00:44:30Z'],
  ])('%s in %s is %s', (text, timezone, same) => {
    expect(time(text, timezone)).toBe(nanoseconds(same));
  });

  it('that the clocks show twice is the first of the two', () => {
    expect(time('2025-10-26T02:30:00', 'Europe/Berlin')).toBe(nanoseconds('2025-10-26T00:30:00Z'));
    expect(time('2025-11-02T01:30:00', 'America/New_York')).toBe(nanoseconds('2025-11-02T05:30:00Z'));
    expect(time('2025-04-06T01:45:00', 'Australia/Lord_Howe')).toBe(nanoseconds('2025-04-05T14:45:00Z'));
  });

  it('that the clocks skip is read as if they had not been put forward', () => {
    expect(time('2025-03-30T02:30:00', 'Europe/Berlin')).toBe(nanoseconds('2025-03-30T01:30:00Z'));
    expect(time('2025-03-09T02:30:00', 'America/New_York')).toBe(nanoseconds('2025-03-09T07:30:00Z'));
  });

  it('agrees with how the zone writes that instant, in every hour of two years', () => {
    const format = new Intl.DateTimeFormat('sv-SE', {
      timeZone: 'America/New_York',
      dateStyle: 'short',
      timeStyle: 'medium',
    });
    const first = Date.UTC(2024, 0, 1);
    const disagreeing = Array.from({ length: 2 * 365 * 24 }, (_, hour) => first + hour * 3_600_000).filter(
      (at) => time(format.format(at), 'America/New_York') !== `${at}000000`,
    );
    // Only the second showing of the repeated hour, each autumn.
    expect(disagreeing.map((at) => new Date(at).toISOString())).toEqual([
      '2024-11-03T06:00:00.000Z',
      '2025-11-02T06:00:00.000Z',
    ]);
  });
});

describe('versions from the message itself', () => {
  it('are its timestamp to the digit, or none when it has no timestamp', () => {
    expect(versionFromTimestamp(1_767_225_600_000)?.digits).toBe('1767225600000000000');
    expect(versionFromTimestamp(1_767_225_600_000.5)?.digits).toBe('1767225600000500000');
    expect(versionFromTimestamp(0)?.digits).toBe('0');
    expect(versionFromTimestamp(-1)).toBeUndefined();
    expect(versionFromTimestamp(Number.NaN)).toBeUndefined();
  });

  it('are its Kafka offset, which other positions are not', () => {
    expect(versionFromOffset('9223372036854775807')).toEqual({
      kind: 'offset',
      digits: '9223372036854775807',
    });
    expect(codeOf(() => versionFromOffset('01J9ZQ5W3K'))).toBe('E_VERSION_INVALID');
  });
});
