/** What every invalidation log must do together with its Redis tier: on a single Redis, on a cluster, in memory. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { counter, freshKey, remove, upsert } from './redis-tier-writes.ts';
import type { Invalidation, InvalidationLog, LogEntry, RedisTier } from '../../src/core/ports.ts';

export interface LogUnderTest {
  readonly tier: RedisTier;
  readonly log: InvalidationLog;
  /** How many keys the log keeps. */
  readonly maxKeys: number;
  close(): Promise<void>;
}

export function invalidationLogSuite(name: string, start: () => Promise<LogUnderTest>): void {
  describe(`the invalidation log ${name}`, () => {
    let under: LogUnderTest;
    beforeAll(async () => {
      under = await start();
    });
    afterAll(() => under.close());

    /** What the work announces, in order. */
    const told = async (work: () => Promise<unknown>): Promise<LogEntry[]> => {
      const before = await under.log.end();
      await work();
      return [...(await under.log.read(before, 0))];
    };
    const changes = (entries: readonly LogEntry[]): Invalidation[] =>
      entries.flatMap((entry) => [...entry.changes()]);

    it('has an end that says nothing before the first write', async () => {
      const end = await under.log.end();
      expect(end).toMatchObject({ epoch: '', sequence: 0 });
      expect(end.servers).not.toBe('');
      expect(await under.log.read(end, 0)).toEqual([]);
    });

    it('tells what was set, by whom, with version and origin', async () => {
      const key = freshKey();
      const entries = await told(() => under.tier.write([upsert(key, '5')]));
      expect(entries.map(({ writer }) => writer)).toEqual(['instance-a']);
      expect(changes(entries)).toEqual([
        {
          key,
          isDelete: false,
          version: counter('5'),
          origin: { stream: 'orders-0', epoch: 0, position: '20' },
        },
      ]);
    });

    it('tells the same write again, since whoever wrote it first may have died before it told', async () => {
      const key = freshKey();
      await under.tier.write([upsert(key, '5')]);
      const entries = await told(() => under.tier.write([upsert(key, '5')]));
      expect(changes(entries)).toMatchObject([{ key, version: counter('5') }]);
    });

    it('tells deletes, with a version and without', async () => {
      const [versioned, absent] = [freshKey(), freshKey()];
      const entries = await told(async () => {
        await under.tier.write([remove(versioned, counter('7'))]);
        await under.tier.write([{ ...remove(absent, null), seen: null }]);
      });
      expect(changes(entries)).toMatchObject([
        { key: versioned, isDelete: true, version: counter('7') },
        { key: absent, isDelete: true, version: null },
      ]);
    });

    it('tells nothing of a group in which nothing was written', async () => {
      const key = freshKey();
      await under.tier.write([upsert(key, '5')]);
      expect(await told(() => under.tier.write([upsert(key, '4')]))).toEqual([]);
    });

    it('tells every key of a mixed group that was written', async () => {
      const [set, same, old] = [freshKey(), freshKey(), freshKey()];
      await under.tier.write([upsert(same, '5'), upsert(old, '5')]);
      const entries = await told(() =>
        under.tier.write([upsert(set, '1'), upsert(same, '5'), upsert(old, '4')]),
      );
      const keys = changes(entries).map(({ key }) => key);
      expect(keys).toEqual(expect.arrayContaining([set, same]));
    });

    it('tells a group with a time to live', async () => {
      const key = freshKey();
      const entries = await told(() => under.tier.write([{ ...upsert(key, '1'), ttlMs: 20_000 }]));
      expect(changes(entries)).toMatchObject([{ key, version: counter('1') }]);
    });

    it('counts keys: each entry says where the one before it ended, the last where the log ends', async () => {
      const before = await under.log.end();
      const entries = await told(async () => {
        await under.tier.write([upsert(freshKey(), '1')]);
        await under.tier.write([1, 2, 3].map(() => upsert(freshKey(), '1')));
        await under.tier.write([upsert(freshKey(), '1')]);
      });
      expect(entries.map(({ after, sequence }) => [after, sequence])).toEqual(
        [
          [0, 1],
          [1, 4],
          [4, 5],
        ].map((pair) => pair.map((keys) => before.sequence + keys)),
      );
      expect(entries.map(({ epoch }) => epoch)).toEqual(entries.map(() => before.epoch));
      expect(await under.log.end()).toEqual({ ...before, sequence: before.sequence + 5 });
    });

    it('wakes a reader that waits', async () => {
      const key = freshKey();
      const waiting = under.log.read(await under.log.end(), 20_000);
      await under.tier.write([upsert(key, '1')]);
      expect(changes([...(await waiting)])).toMatchObject([{ key }]);
    });

    it('answers with nothing when the time is over', async () => {
      expect(await under.log.read(await under.log.end(), 20)).toEqual([]);
    });

    it('takes announcements that no write made, as nobody’s own', async () => {
      const key = freshKey();
      const origin = { stream: 'reset', epoch: 0, position: '0' };
      const entries = await told(() => under.log.announce([{ key, isDelete: true, version: null, origin }]));
      expect(entries.map(({ writer }) => writer)).toEqual(['']);
      expect(changes(entries)).toEqual([{ key, isDelete: true, version: null, origin }]);
    });

    it('keeps about so many keys, and the gap shows', async () => {
      const before = await under.log.end();
      for (let round = 0; round < 60; round += 1) {
        await under.tier.write(Array.from({ length: 100 }, () => upsert(freshKey(), '1')));
      }
      const end = await under.log.end();
      expect(end.sequence - before.sequence).toBe(6_000);
      const [oldest] = await under.log.read(before, 0);
      expect(oldest?.after).toBeGreaterThan(before.sequence);
      expect(end.sequence - (oldest?.after ?? 0)).toBeGreaterThanOrEqual(under.maxKeys);
    });
  });
}
