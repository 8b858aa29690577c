/**
 * What every Redis tier must do: called once for a single Redis, once for a cluster, once for the fake. The cells of
 * docs/versions.md's table stand in redis-tier-cells.ts.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cells } from './redis-tier-cells.ts';
import { counter, freshKey, remove, TOMBSTONE, upsert, write } from './redis-tier-writes.ts';
import { waitFor } from '../support/servers/process.ts';
import { fenceKeyOf } from '../../src/core/fence.ts';
import type { RedisTier, TierResult, TierWrite } from '../../src/core/ports.ts';

/** How a suite looks beside the tier: every key is one of a value or of a fence. */
export interface Probe {
  get(key: string): Promise<string | null>;
  put(key: string, text: string): Promise<void>;
  /** Puts another program's type under the key. */
  putForeign(key: string): Promise<void>;
  isForeign(key: string): Promise<boolean>;
  /** Remaining life, milliseconds; -1: no expiry, -2: not there. */
  lifeMs(key: string): Promise<number>;
}

export interface TierUnderTest {
  readonly tier: RedisTier;
  /** The same Redis by another connection. */
  readonly other: RedisTier;
  readonly probe: Probe;
  close(): Promise<void>;
}

export function redisTierSuite(name: string, start: () => Promise<TierUnderTest>): void {
  describe(`the Redis tier ${name}`, () => {
    let under: TierUnderTest;
    beforeAll(async () => {
      under = await start();
    });
    afterAll(() => under.close());
    const one = async (asked: TierWrite): Promise<TierResult | undefined> =>
      (await under.tier.write([asked]))[0];

    describe('decides as tabled:', () => {
      it.each(cells)('$name', async ({ fence, value, asked, result, leaves }) => {
        const key = freshKey();
        const { probe } = under;
        if (fence === 'foreign') await probe.putForeign(fenceKeyOf(key));
        else if (fence !== null) await probe.put(fenceKeyOf(key), fence);
        if (value === 'foreign') await probe.putForeign(key);
        else if (value !== null) await probe.put(key, value);

        const answer = await one(write(key, asked));

        const failed = { kind: 'failed', error: expect.objectContaining({ code: result }) };
        expect(answer).toEqual(typeof result === 'string' ? failed : result);
        const after = {
          value: (await probe.isForeign(key)) ? 'foreign' : await probe.get(key),
          fence: (await probe.isForeign(fenceKeyOf(key))) ? 'foreign' : await probe.get(fenceKeyOf(key)),
        };
        expect(after).toEqual({ value, fence, ...leaves });
      });
    });

    it('compares versions beyond 2^53 and of 30 digits exactly', async () => {
      const key = freshKey();
      const rising = [
        '9',
        '10',
        '9007199254740992',
        '9007199254740993',
        '123456789012345678901234567890',
        '123456789012345678901234567891',
      ];
      for (const digits of rising) {
        expect(await one(upsert(key, digits))).toEqual({ kind: 'set', note: '' });
      }
      for (const digits of rising.slice(0, -1)) {
        expect(await one(upsert(key, digits))).toMatchObject({
          kind: 'refused',
          reason: 'older',
          version: `counter:${rising.at(-1)}`,
        });
      }
    });

    it('decides a group of 1,000 keys in order, and larger groups too', async () => {
      const keys = Array.from({ length: 2_300 }, freshKey);
      const first = await under.tier.write(keys.map((key) => upsert(key, '5')));
      expect(first.every(({ kind }) => kind === 'set')).toBe(true);
      const second = await under.tier.write(
        keys.map((key, index) => upsert(key, index % 2 === 0 ? '4' : '6')),
      );
      expect(second.map(({ kind }) => kind)).toEqual(
        keys.map((_, index) => (index % 2 === 0 ? 'refused' : 'set')),
      );
      const fences = await under.tier.fences(keys);
      expect(fences.map((fence) => fence?.split('|')[3])).toEqual(
        keys.map((_, index) => (index % 2 === 0 ? '5' : '6')),
      );
      const records = await under.tier.read(keys);
      expect(records.every((record) => record !== null)).toBe(true);
    });

    it('answers a mixed group one by one; a foreign type stops only itself', async () => {
      const [set, same, old, foreign, gone] = [freshKey(), freshKey(), freshKey(), freshKey(), freshKey()];
      await under.tier.write([upsert(same, '5'), upsert(old, '5'), upsert(gone, '5')]);
      await under.probe.putForeign(foreign);
      const results = await under.tier.write([
        upsert(set, '1'),
        upsert(foreign, '1'),
        upsert(same, '5'),
        remove(gone, counter('6')),
        upsert(old, '4'),
      ]);
      expect(results.map(({ kind }) => kind)).toEqual(['set', 'failed', 'same', 'evicted', 'refused']);
      expect(await under.tier.read([set, foreign, same, gone, old])).toMatchObject([
        { text: 'text 1', ttlMs: -1 },
        null,
        { text: 'text 5' },
        null,
        { text: 'text 5' },
      ]);
    });

    it('stores texts byte for byte, also beyond ASCII', async () => {
      const key = freshKey();
      const text = '{"n":9007199254740993,"s":"ä€😀\\u0000"}';
      await one({ ...upsert(key, '1'), text });
      expect(await under.tier.read([key])).toMatchObject([{ text }]);
      expect(await under.probe.get(key)).toBe(text);
    });

    it('answers nothing for nothing', async () => {
      expect(await under.tier.write([])).toEqual([]);
      expect(await under.tier.fences([])).toEqual([]);
      expect(await under.tier.read([freshKey()])).toEqual([null]);
      expect(await under.tier.fences([freshKey()])).toEqual([null]);
    });

    lives(() => under);
    histories(() => under);
  });
}

function lives(under: () => TierUnderTest): void {
  it('lets value and fence live equally long without a TTL', async () => {
    const { tier, probe } = under();
    const key = freshKey();
    await tier.write([{ ...upsert(key, '1'), ttlMs: 0, fenceTtlMs: 60_000 }]);
    expect([await probe.lifeMs(key), await probe.lifeMs(fenceKeyOf(key))]).toEqual([-1, -1]);
  });

  it('lets the fence outlive a value with a TTL, and keeps it for ever when `fenceTtlMs` is 0', async () => {
    const { tier, probe } = under();
    const [key, forever] = [freshKey(), freshKey()];
    await tier.write([
      { ...upsert(key, '1'), ttlMs: 20_000.4, fenceTtlMs: 50_000 },
      { ...upsert(forever, '1'), ttlMs: 20_000, fenceTtlMs: 0 },
    ]);
    expect(await probe.lifeMs(key)).toBeGreaterThan(10_000);
    expect(await probe.lifeMs(key)).toBeLessThanOrEqual(20_000);
    expect(await probe.lifeMs(fenceKeyOf(key))).toBeGreaterThan(60_000);
    expect(await probe.lifeMs(fenceKeyOf(key))).toBeLessThanOrEqual(70_000);
    expect(await probe.lifeMs(fenceKeyOf(forever))).toBe(-1);
    expect((await tier.read([key]))[0]?.ttlMs).toBeGreaterThan(10_000);
  });

  it('takes a TTL off again when the service no longer has one', async () => {
    const { tier, probe } = under();
    const key = freshKey();
    await tier.write([{ ...upsert(key, '1'), ttlMs: 20_000, fenceTtlMs: 50_000 }]);
    await tier.write([upsert(key, '2')]);
    expect([await probe.lifeMs(key), await probe.lifeMs(fenceKeyOf(key))]).toEqual([-1, -1]);
  });

  it('lets tombstones live for `fenceTtlMs`, or for ever', async () => {
    const { tier, probe } = under();
    const [key, forever] = [freshKey(), freshKey()];
    await tier.write([upsert(key, '1'), upsert(forever, '1')]);
    await tier.write([
      { ...remove(key, counter('2')), fenceTtlMs: 50_000 },
      { ...remove(forever, counter('2')), fenceTtlMs: 0 },
    ]);
    expect(await probe.lifeMs(key)).toBe(-2);
    expect(await probe.lifeMs(fenceKeyOf(key))).toBeGreaterThan(40_000);
    expect(await probe.lifeMs(fenceKeyOf(forever))).toBe(-1);
  });

  it('still refuses an older write after the value has expired, and takes the same one again', async () => {
    const { tier, probe } = under();
    const key = freshKey();
    await tier.write([{ ...upsert(key, '5'), ttlMs: 30, fenceTtlMs: 60_000 }]);
    await waitFor(async () => (await probe.get(key)) === null, { what: 'the value to expire' });
    expect(await tier.write([upsert(key, '4')])).toMatchObject([{ kind: 'refused', reason: 'older' }]);
    expect(await tier.write([upsert(key, '5')])).toEqual([{ kind: 'set', note: '' }]);
    expect(await probe.get(key)).toBe('text 5');
  });
}

function histories(under: () => TierUnderTest): void {
  const step = fc.record({ isDelete: fc.boolean(), version: fc.integer({ min: 0, max: 4 }) });
  const history = fc.array(step, { minLength: 1, maxLength: 12 });

  it('ends every history at its newest version, in whatever order and over two connections', async () => {
    const { tier, other, probe } = under();
    await fc.assert(
      fc.asyncProperty(history, fc.infiniteStream(fc.nat(1_000)), async (steps, shuffle) => {
        const key = freshKey();
        const writes = steps.map(({ isDelete, version }, position) => {
          const digits = `90071992547409${version}`;
          const origin = { stream: 'orders-0', epoch: 0, position: String(position) };
          return isDelete
            ? { ...remove(key, counter(digits)), origin }
            : { ...upsert(key, digits), origin, text: `text ${position}` };
        });
        const order = [...writes, ...writes]
          .map((asked) => ({ asked, rank: shuffle.next().value ?? 0 }))
          .sort((a, b) => a.rank - b.rank);
        await Promise.all(order.map(({ asked, rank }) => (rank % 2 === 0 ? tier : other).write([asked])));

        const newest = Math.max(...steps.map(({ version }) => version));
        const last = writes.filter(({ version }) => version?.digits === `90071992547409${newest}`);
        const isGone = last.some(({ op }) => op === 'delete');
        expect(await probe.get(key)).toBe(isGone ? null : last.at(-1)?.text);
        const fence = (await tier.fences([key]))[0] ?? '';
        expect(fence.slice(0, 4)).toBe(isGone ? TOMBSTONE : '1|l|');
        expect(fence.split('|')[3]).toBe(`90071992547409${newest}`);
      }),
      { numRuns: 60 },
    );
  });
}
