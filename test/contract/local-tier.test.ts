import * as fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { entryOf, standingClock } from '../support/tier-entries.ts';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import type { LocalTier } from '../../src/core/ports.ts';

const version = (digits: string) => ({ kind: 'counter', digits }) as const;

describe('the local tier over keyv', () => {
  let clock: ReturnType<typeof standingClock>;
  let tier: LocalTier;
  beforeEach(() => {
    clock = standingClock();
    tier = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: 1_000_000, clock });
  });
  const textOf = async (key: string): Promise<string | undefined> => (await tier.get(key))?.text;

  describe('holds provisional entries beside the readable one:', () => {
    it('no reader sees them before they are promoted', async () => {
      await tier.stage([entryOf('a', '1'), entryOf('b', '1')], 'job.1');
      expect(await tier.getMany(['a', 'b'])).toEqual([undefined, undefined]);
      tier.promote([entryOf('a', '1')], 'job.1');
      expect(await tier.getMany(['a', 'b'])).toMatchObject([{ text: 'text 1' }, undefined]);
      await tier.stage([entryOf('a', '2')], 'job.1');
      expect(await textOf('a')).toBe('text 1');
    });

    it('they are read back, in order, only by the execution that wrote them', async () => {
      await tier.stage([entryOf('a', '1'), entryOf('b', '1')], 'job.1');
      expect(await tier.staged(['b', 'c', 'a'], 'job.1')).toMatchObject([
        { key: 'b' },
        undefined,
        { key: 'a' },
      ]);
      expect(await tier.staged(['a'], 'job.2')).toEqual([undefined]);
    });

    it('several executions hold one for the same key at once', async () => {
      await tier.stage([entryOf('a', '1')], 'job.1');
      await tier.stage([entryOf('a', '2')], 'job.2');
      await tier.stage([entryOf('a', '3')], 'job.3');
      expect(await tier.staged(['a'], 'job.1')).toMatchObject([{ text: 'text 1' }]);
      tier.promote([entryOf('a', '3')], 'job.3');
      tier.promote([entryOf('a', '1')], 'job.1');
      expect(await textOf('a')).toBe('text 3');
      expect(await tier.staged(['a'], 'job.2')).toMatchObject([{ text: 'text 2' }]);
    });

    it('an execution that stages a key again replaces only its own', async () => {
      await tier.stage([entryOf('a', '1')], 'job.1');
      await tier.stage([entryOf('a', '7')], 'job.2');
      await tier.stage([entryOf('a', '2')], 'job.1');
      expect(await tier.staged(['a'], 'job.1')).toMatchObject([{ text: 'text 2' }]);
      expect(await tier.staged(['a'], 'job.2')).toMatchObject([{ text: 'text 7' }]);
    });

    it('those of executions that never came back are dropped after a minute', async () => {
      await tier.stage([entryOf('a', '1')], 'job.1');
      const sizeOfOne = tier.size();
      clock.moveTo(62_000);
      await tier.stage([entryOf('a', '2', { storedMs: 62_000 })], 'job.2');
      expect(await tier.staged(['a'], 'job.1')).toEqual([undefined]);
      expect(tier.size()).toEqual(sizeOfOne);
    });

    it('entries are frozen and come back as the same object', async () => {
      const entry = entryOf('a', '1');
      await tier.stage([entry], 'job.1');
      tier.promote([entry], 'job.1');
      const read = await tier.get('a');
      expect(read).toBe(entry);
      expect([read, read?.version, read?.origin].every(Object.isFrozen)).toBe(true);
    });
  });

  describe('promotes', () => {
    it('the newer of two, whichever comes last', async () => {
      await tier.stage([entryOf('a', '10')], 'job.1');
      await tier.stage([entryOf('a', '9')], 'job.2');
      tier.promote([entryOf('a', '10')], 'job.1');
      tier.promote([entryOf('a', '9')], 'job.2');
      expect(await textOf('a')).toBe('text 10');
    });

    it('by position where versions are equal', async () => {
      const later = entryOf('a', '5', {
        text: 'later',
        origin: { stream: 'orders-0', epoch: 0, position: '10' },
      });
      const earlier = entryOf('a', '5', {
        text: 'earlier',
        origin: { stream: 'orders-0', epoch: 0, position: '9' },
      });
      await tier.stage([later], 'job.1');
      tier.promote([later], 'job.1');
      await tier.stage([earlier], 'job.2');
      tier.promote([earlier], 'job.2');
      expect(await textOf('a')).toBe('later');
    });

    it('offsets of a topic made anew over those of the one before', async () => {
      const version = { kind: 'offset', digits: '500' } as const;
      const before = entryOf('a', '0', {
        version,
        origin: { stream: 'orders-0', epoch: 0, position: '500' },
      });
      const anew = entryOf('a', '0', {
        text: 'anew',
        version: { kind: 'offset', digits: '3' },
        origin: { stream: 'orders-0', epoch: 1, position: '3' },
      });
      await tier.fill(before);
      await tier.stage([anew], 'job.1');
      tier.promote([anew], 'job.1');
      await tier.fill(before);
      expect(await textOf('a')).toBe('anew');
    });

    it('what Redis took after a fence was reset, though its version is of another kind', async () => {
      await tier.fill(entryOf('a', '5'));
      const timed = entryOf('a', '1', { text: 'timed', version: { kind: 'time', digits: '1' } });
      await tier.stage([timed], 'job.1');
      tier.promote([timed], 'job.1');
      expect(await textOf('a')).toBe('timed');
    });

    it('nothing that no longer belongs to the execution, and drops what is older than it', async () => {
      await tier.fill(entryOf('a', '4'));
      await tier.fill(entryOf('b', '6'));
      tier.promote([entryOf('a', '5'), entryOf('b', '5')], 'job.1');
      expect(await tier.getMany(['a', 'b'])).toMatchObject([undefined, { text: 'text 6' }]);
    });

    it('nothing of another version than was staged', async () => {
      await tier.fill(entryOf('a', '4'));
      await tier.stage([entryOf('a', '5')], 'job.1');
      tier.promote([entryOf('a', '6')], 'job.1');
      expect(await tier.get('a')).toBeUndefined();
    });

    it('nothing older than a delete that came meanwhile', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      await tier.stage([entryOf('b', '7')], 'job.1');
      tier.evict('a', version('6'));
      tier.evict('b', version('6'));
      tier.promote([entryOf('a', '5'), entryOf('b', '7')], 'job.1');
      await tier.fill(entryOf('a', '6'));
      expect(await tier.getMany(['a', 'b'])).toMatchObject([undefined, { text: 'text 7' }]);
    });

    it('nothing that another instance has overtaken meanwhile', async () => {
      const origin = { stream: 's-0', epoch: 0, position: '9' };
      const staged = [entryOf('a', '5'), entryOf('b', '5'), entryOf('c', '5')];
      await tier.stage(staged, 'job.1');
      tier.overtake('a', { version: version('6'), origin });
      tier.overtake('b', { version: version('4'), origin });
      tier.overtake('c', null);
      tier.promote(staged, 'job.1');
      expect(await tier.getMany(['a', 'b', 'c'])).toMatchObject([undefined, { text: 'text 5' }, undefined]);
    });

    it('nothing older than what was readable and dropped meanwhile', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      await tier.fill(entryOf('a', '6'));
      tier.discard('a', 'job.2', { version: null });
      tier.promote([entryOf('a', '5')], 'job.1');
      expect(await tier.get('a')).toBeUndefined();
    });

    it('nothing older than a write of its own that Redis took and it does not hold', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      tier.promote([entryOf('a', '6')], 'job.2');
      tier.promote([entryOf('a', '5')], 'job.1');
      expect(await tier.get('a')).toBeUndefined();
    });

    it('nothing older than a write of its own that was readable and whose time is over', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      await tier.stage([entryOf('a', '6', { ttlMs: 1_000 })], 'job.2');
      tier.promote([entryOf('a', '6')], 'job.2');
      clock.moveTo(3_000);
      tier.promote([entryOf('a', '5')], 'job.1');
      expect(await tier.get('a')).toBeUndefined();
    });

    it('nothing that was on its way when a delete without a version came', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      tier.evict('a', null);
      expect(await tier.staged(['a'], 'job.1')).toMatchObject([{ text: 'text 5' }]);
      await tier.stage([entryOf('a', '4')], 'job.2');
      tier.promote([entryOf('a', '5')], 'job.1');
      expect(await tier.get('a')).toBeUndefined();
      tier.promote([entryOf('a', '4')], 'job.2');
      expect(await tier.get('a')).toBeUndefined();
    });

    it('the very write that was announced before it was answered', async () => {
      const own = entryOf('a', '5');
      await tier.stage([own], 'job.1');
      await tier.stage([entryOf('b', '5')], 'job.1');
      tier.overtake('a', own);
      tier.overtake('b', { version: own.version, origin: { ...own.origin, stream: 'other-0' } });
      tier.promote([own, entryOf('b', '5')], 'job.1');
      expect(await tier.getMany(['a', 'b'])).toMatchObject([{ text: 'text 5' }, undefined]);
    });

    it('what came after such a delete', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      tier.evict('a', null);
      await tier.stage([entryOf('a', '4')], 'job.2');
      tier.promote([entryOf('a', '4')], 'job.2');
      expect(await textOf('a')).toBe('text 4');
    });

    it('nothing overtaken, which its execution can read back all the same', async () => {
      await tier.stage([entryOf('a', '5')], 'job.1');
      await tier.stage([entryOf('a', '6')], 'job.2');
      tier.promote([entryOf('a', '6')], 'job.2');
      expect(await tier.staged(['a'], 'job.1')).toMatchObject([{ text: 'text 5' }]);
    });

    it('and forgets deletes after a minute', async () => {
      tier.evict('a', version('6'));
      clock.moveTo(62_000);
      await tier.fill(entryOf('a', '5', { storedMs: 62_000 }));
      expect(await textOf('a')).toBe('text 5');
    });
  });

  describe('drops', () => {
    beforeEach(() => tier.fill(entryOf('a', '5')));

    it('the provisional entry of one execution, and leaves the readable one', async () => {
      await tier.stage([entryOf('a', '6')], 'job.1');
      await tier.stage([entryOf('a', '7')], 'job.2');
      tier.discard('a', 'job.1');
      expect(await tier.staged(['a'], 'job.1')).toEqual([undefined]);
      expect(await tier.staged(['a'], 'job.2')).toMatchObject([{ text: 'text 7' }]);
      expect(await textOf('a')).toBe('text 5');
    });

    it.each([
      { than: version('6'), leaves: undefined },
      { than: version('5'), leaves: 'text 5' },
      { than: version('4'), leaves: 'text 5' },
      { than: null, leaves: undefined },
    ])('with the provisional entry the readable one if it is older than $than', async ({ than, leaves }) => {
      await tier.stage([entryOf('a', '6')], 'job.1');
      tier.discard('a', 'job.1', { version: than });
      expect(await textOf('a')).toBe(leaves);
    });

    it.each([
      { at: version('6'), leaves: undefined },
      { at: version('5'), leaves: undefined },
      { at: version('4'), leaves: 'text 5' },
      { at: null, leaves: undefined },
    ])('the readable one by a delete at $at unless it is newer', async ({ at, leaves }) => {
      tier.evict('a', at);
      expect(await textOf('a')).toBe(leaves);
    });

    it('everything when cleared', async () => {
      tier.clear();
      expect(await tier.get('a')).toBeUndefined();
      expect(tier.size()).toEqual({ entries: 0, bytes: 0 });
    });
  });

  it('serves an entry for its TTL and not longer', async () => {
    await tier.fill(entryOf('a', '5', { ttlMs: 500 }));
    clock.moveTo(1_499);
    expect(await textOf('a')).toBe('text 5');
    clock.moveTo(1_500);
    expect(await tier.get('a')).toBeUndefined();
    expect(tier.size().entries).toBe(0);
  });

  it('a fill from Redis never replaces a newer entry', async () => {
    await tier.fill(entryOf('a', '10'));
    await tier.fill(entryOf('a', '9'));
    expect(await textOf('a')).toBe('text 10');
  });

  it('two writers over keyv never leave the older of two', async () => {
    for (let round = 0; round < 200; round += 1) {
      const key = `race-${round}`;
      await Promise.all([tier.fill(entryOf(key, '2')), tier.fill(entryOf(key, '1'))]);
      expect(await textOf(key)).toBe('text 2');
    }
  });

  it('ends every history of promoted, discarded and filled writes at the newest one Redis took', async () => {
    const step = fc.record({ digits: fc.nat(20), how: fc.constantFrom('promote', 'discard', 'fill') });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
        tier.clear();
        await Promise.all(
          steps.map(async ({ digits, how }, index) => {
            const entry = entryOf('k', String(digits));
            const token = `job.${index}`;
            if (how === 'fill') return tier.fill(entry);
            await tier.stage([entry], token);
            return how === 'promote' ? tier.promote([entry], token) : tier.discard('k', token);
          }),
        );
        const taken = steps.filter(({ how }) => how !== 'discard').map(({ digits }) => digits);
        expect(await textOf('k')).toBe(taken.length === 0 ? undefined : `text ${Math.max(...taken)}`);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the local tier is bounded', () => {
  const clock = standingClock();

  it('by entries: what can be read, not what an execution still holds', async () => {
    const tier = createKeyvLocalTier({ maxEntries: 10, maxBytes: 1_000_000, clock });
    const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
    const entries = keys.map((key) => entryOf(key, '1'));
    await tier.stage(entries, 'job.1');
    expect(tier.size().entries).toBe(50);
    expect(await tier.staged(keys, 'job.1')).toEqual(entries);
    tier.promote(entries, 'job.1');
    expect(tier.size().entries).toBe(10);
    expect((await tier.getMany(keys)).filter((entry) => entry !== undefined)).toHaveLength(10);
  });

  it('by bytes, provisional ones included', async () => {
    const tier = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: 20_000, clock });
    const text = 'x'.repeat(1_000);
    for (let index = 0; index < 30; index += 1) await tier.fill(entryOf(`k${index}`, '1', { text }));
    expect(tier.size().bytes).toBeLessThanOrEqual(20_000);
    const before = tier.size().entries;
    await tier.stage([entryOf('staged', '1', { text: 'x'.repeat(10_000) })], 'job.1');
    expect(tier.size().bytes).toBeLessThanOrEqual(20_000);
    expect(tier.size().entries).toBeLessThan(before);
  });

  it('and an entry that can never fit is not there when it is read back', async () => {
    const tier = createKeyvLocalTier({ maxEntries: 10, maxBytes: 1_000, clock });
    await tier.stage([entryOf('a', '1', { text: 'x'.repeat(2_000) })], 'job.1');
    expect(await tier.staged(['a'], 'job.1')).toEqual([undefined]);
  });
});
