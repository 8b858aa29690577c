import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fail } from '../../src/core/errors.ts';
import type { BatchHandler, ChangeSource, SourceBatch, SourceRecord } from '../../src/core/ports.ts';
import { waitFor } from '../support/servers/process.ts';

/** What a kind of source must offer to be held to the suite. */
export interface SourceWorld {
  readonly topic: string;
  /** A source of the same cluster and group each time; the topic has two partitions. */
  makeSource(): ChangeSource;
  append(partition: number, records: readonly Partial<Omit<SourceRecord, 'offset'>>[]): Promise<void>;
  /** A source that wants a topic that is not there. */
  makeLost(): ChangeSource;
  close(): Promise<void>;
}

const text = (value: string) => ({ value: Buffer.from(value) });

/** What every change source must do, whatever is behind it. */
export function changeSourceSuite(name: string, openWorld: () => Promise<SourceWorld>): void {
  describe(`a change source: ${name}`, () => {
    let world: SourceWorld;
    let sources: ChangeSource[];
    beforeEach(async () => {
      world = await openWorld();
      sources = [];
    });
    afterEach(async () => {
      await Promise.all(sources.map((source) => source.close()));
      await world.close();
    });

    const start = async (handler: BatchHandler): Promise<ChangeSource> => {
      const source = world.makeSource();
      sources.push(source);
      await source.start(handler);
      return source;
    };
    const lastOf = (batch: SourceBatch): string => batch.records.at(-1)?.offset ?? '';
    /** Commits everything and remembers it as `partition:offset=value`. */
    const reader = () => {
      const seen: string[] = [];
      const handler: BatchHandler = async (batch) => {
        for (const { offset, value } of batch.records)
          seen.push(`${batch.partition}:${offset}=${String(value)}`);
        await batch.commit(lastOf(batch));
      };
      return { seen, handler };
    };
    const until = (what: string, condition: () => boolean | Promise<boolean>) =>
      waitFor(condition, { what, timeoutMs: 30_000 });

    it('offers what was there before it started, and what comes later, in order per partition', async () => {
      await world.append(0, ['a', 'b'].map(text));
      await world.append(1, ['x'].map(text));
      const { seen, handler } = reader();
      await start(handler);
      await until('the first three', () => seen.length === 3);
      await world.append(0, ['c'].map(text));
      await until('the fourth', () => seen.length === 4);
      expect(seen.filter((line) => line.startsWith('0:'))).toEqual(['0:0=a', '0:1=b', '0:2=c']);
      expect(seen).toContain('1:0=x');
    });

    it('gives records as they are: null, bytes, key, headers of one name, timestamp', async () => {
      const bytes = Buffer.from([0, 255, 10]);
      const headers = [
        ['kind', Buffer.from('one')],
        ['kind', Buffer.from('two')],
      ] as const;
      await world.append(0, [
        { value: null, key: Buffer.from('k'), timestampMs: 1_700_000_000_123 },
        { value: bytes, key: null, headers },
      ]);
      const records: SourceRecord[] = [];
      await start(async (batch) => {
        records.push(...batch.records);
        await batch.commit(lastOf(batch));
      });
      await until('both', () => records.length === 2);
      expect(records[0]).toMatchObject({
        offset: '0',
        timestampMs: 1_700_000_000_123,
        value: null,
        headers: [],
      });
      expect(String(records[0]?.key)).toBe('k');
      expect(records[1]?.key).toBeNull();
      expect(records[1]?.value?.equals(bytes)).toBe(true);
      expect(records[1]?.headers.map(([header, value]) => `${header}=${String(value)}`)).toEqual([
        'kind=one',
        'kind=two',
      ]);
    });

    it('goes on after the commit in the next membership', async () => {
      await world.append(0, ['a', 'b'].map(text));
      const first = reader();
      const source = await start(first.handler);
      await until('both', () => first.seen.length === 2);
      await source.close();
      await world.append(0, ['c'].map(text));
      const second = reader();
      await start(second.handler);
      await until('the third', () => second.seen.length > 0);
      expect(second.seen).toEqual(['0:2=c']);
    });

    it('offers a batch again when its handling failed, even by a programming error, and goes on', async () => {
      await world.append(0, ['a'].map(text));
      const failures = [
        new TypeError('a bug'),
        fail('E_UNEXPECTED', { what: 'a fault' }),
        new RangeError('a bug'),
      ];
      const { seen, handler } = reader();
      await start(async (batch) => {
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        await handler(batch);
      });
      await until('the message in the end', () => seen.length === 1);
      expect(failures).toEqual([]);
    });

    it('tells commit and bounds of a partition', async () => {
      await world.append(0, ['a', 'b', 'c'].map(text));
      const looks: unknown[] = [];
      const source = await start(async (batch) => {
        looks.push({
          committed: await batch.committed(),
          bounds: await batch.bounds(),
          high: batch.highWatermark,
        });
        await batch.commit('1');
      });
      await until('a commit', async () => (await source.partition(world.topic, 0).committed()) === '2');
      expect(looks[0]).toEqual({
        committed: null,
        bounds: { low: '0', high: '3', logId: expect.any(String) },
        high: '3',
      });
      expect(await source.partition(world.topic, 1).committed()).toBeNull();
    });

    it('continues after a commit in the middle of a batch with the rest', async () => {
      await world.append(0, ['a', 'b', 'c'].map(text));
      const firsts: string[] = [];
      await start(async (batch) => {
        const offset = batch.records[0]?.offset ?? '';
        firsts.push(offset);
        await batch.commit(offset);
      });
      await until('the last', () => firsts.includes('2'));
      expect(firsts).toEqual(['0', '1', '2']);
    });

    it('continues where it is told to seek', async () => {
      await world.append(0, ['a', 'b', 'c'].map(text));
      const { seen, handler } = reader();
      let hasSought = false;
      await start(async (batch) => {
        if (hasSought) return handler(batch);
        hasSought = true;
        batch.seek('2');
      });
      await until('what follows', () => seen.length === 1);
      expect(seen).toEqual(['0:2=c']);
    });

    it('can be sent back between batches', async () => {
      await world.append(0, ['a', 'b'].map(text));
      const { seen, handler } = reader();
      const source = await start(handler);
      await until('both', () => seen.length === 2);
      source.partition(world.topic, 0).seek('1');
      await until('the second once more', () => seen.length === 3);
      expect(seen).toEqual(['0:0=a', '0:1=b', '0:1=b']);
    });

    it('offers nothing of a paused partition until everyone has let go of it, and the other meanwhile', async () => {
      await world.append(0, ['a'].map(text));
      await world.append(1, ['x'].map(text));
      const { seen, handler } = reader();
      const source = await start(handler);
      await until('both partitions', () => seen.length === 2);
      const resume = source.partition(world.topic, 0).pause();
      const resumeToo = source.partition(world.topic, 0).pause();
      expect(source.positions()).toContainEqual(expect.objectContaining({ partition: 0, isPaused: true }));
      await world.append(0, ['b'].map(text));
      await world.append(1, ['y'].map(text));
      await until('the other', () => seen.includes('1:1=y'));
      resume();
      await world.append(1, ['z'].map(text));
      await until('the other again', () => seen.includes('1:2=z'));
      expect(seen).not.toContain('0:1=b');
      resumeToo();
      resumeToo();
      await until('the paused one', () => seen.includes('0:1=b'));
    });

    it('tells what is assigned, and how far it came', async () => {
      await world.append(0, ['a', 'b'].map(text));
      const { seen, handler } = reader();
      const source = await start(handler);
      await until('both', () => seen.length === 2);
      expect(
        source.assignments().map(({ topic, partitions }) => [topic, partitions.toSorted((a, b) => a - b)]),
      ).toEqual([[world.topic, [0, 1]]]);
      await until('the position', () =>
        source.positions().some(({ partition, resolved }) => partition === 0 && resolved === '2'),
      );
      expect(source.isHealthy()).toEqual({ healthy: true, reason: '' });
    });

    it('begins a new generation after a restart, tells of it, and offers again what was not committed', async () => {
      await world.append(0, ['a'].map(text));
      const generations: number[] = [];
      const source = await start(async (batch) => {
        generations.push(batch.generation);
        if (generations.length > 1) await batch.commit(lastOf(batch));
        else batch.pause();
      });
      await until('the first offer', () => generations.length === 1);
      let isTold = false;
      source.onAssigned(() => {
        isTold = source.assignments().length > 0;
      });
      await source.restart('a test wants it');
      await until('the second offer', () => generations.length === 2);
      expect(generations[1]).toBeGreaterThan(generations[0] ?? 0);
      expect(isTold).toBe(true);
    });

    it('shares the partitions with a second member, and takes them over when that one leaves', async () => {
      const first = reader();
      const second = reader();
      const one = await start(first.handler);
      const two = await start(second.handler);
      const held = (source: ChangeSource) => source.assignments().flatMap(({ partitions }) => partitions);
      await until('a partition each', () => held(one).length === 1 && held(two).length === 1);
      expect([...held(one), ...held(two)].toSorted()).toEqual([0, 1]);
      await world.append(0, ['a'].map(text));
      await world.append(1, ['b'].map(text));
      await until('both messages', () => first.seen.length + second.seen.length >= 2);
      await two.close();
      await until('both partitions', () => held(one).length === 2);
      await world.append(0, ['c'].map(text));
      await world.append(1, ['d'].map(text));
      await until('the later ones', () => first.seen.includes('0:1=c') && first.seen.includes('1:1=d'));
    });

    it("refuses a commit in the name of a membership that is over: the partition may be another owner's by then", async () => {
      await world.append(0, ['a', 'b'].map(text));
      const batches: SourceBatch[] = [];
      const source = await start(async (batch) => {
        batches.push(batch);
        if (batches.length === 1) batch.pause();
        else await batch.commit(lastOf(batch));
      });
      await until('the first offer', () => batches.length === 1);
      await source.restart('a test wants it');
      const committed = () => source.partition(world.topic, 0).committed();
      await until('the next membership to commit', async () => (await committed()) === '2');
      await expect(batches[0]?.commit('0')).rejects.toMatchObject({ code: 'E_ABORTED' });
      expect(await committed()).toBe('2');
    });

    it('ends the waits of its handlers when it closes, and waits for them', async () => {
      await world.append(0, ['a'].map(text));
      let ended = '';
      const source = await start(
        (batch) =>
          new Promise((resolve) => {
            ended = 'begun';
            batch.signal.addEventListener('abort', () => {
              ended = 'ended';
              resolve();
            });
          }),
      );
      await until('the handler', () => ended === 'begun');
      await source.close();
      expect(ended).toBe('ended');
    });

    it('refuses to start without its topic', async () => {
      const source = world.makeLost();
      sources.push(source);
      await expect(source.start(() => Promise.resolve())).rejects.toMatchObject({ code: 'E_TOPIC_MISSING' });
    });
  });
}
