import { setImmediate as tick } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryCluster } from '../../src/adapters/memory-cluster.ts';
import { createMemoryMarks, type MemoryMarks } from '../../src/adapters/memory-marks.ts';
import { createMemorySource } from '../../src/adapters/memory-source.ts';
import { fail } from '../../src/core/errors.ts';
import { unpackChunk } from '../../src/core/packed-chunk.ts';
import type { ChangeSource, Clock, MarkStore, QueuedChunk, SourceBatch } from '../../src/core/ports.ts';
import { createHandOff, type IngestEvent } from '../../src/ingest/hand-off.ts';
import { silentLog } from '../../src/testing/paths.ts';

const NAME = { clusterId: 'c', groupId: 'g', topic: 't', partition: 0 };

/** Time passes only by sleeping, and costs nothing. */
function aClock(): Clock {
  let nowMs = 0;
  return {
    now: () => nowMs,
    async sleep(ms, signal) {
      nowMs += ms;
      await tick();
      if (signal?.aborted === true) throw fail('E_ABORTED', { reason: 'test' });
    },
    random: () => 0.5,
  };
}

/** A queue as BullMQ is one: an id is taken once. */
class FakeQueue {
  readonly jobs = new Map<string, QueuedChunk>();

  enqueue(chunks: readonly QueuedChunk[]): Promise<void> {
    for (const chunk of chunks) if (!this.jobs.has(chunk.id)) this.jobs.set(chunk.id, chunk);
    return Promise.resolve();
  }

  /** `epoch:position="value"` of everything that was ever taken. */
  messages(): string[] {
    return [...this.jobs.values()].flatMap((job) => {
      const { epoch, positions, values } = unpackChunk(job.data);
      return positions.map((position, index) => `${epoch}:${position}=${JSON.stringify(values[index])}`);
    });
  }
}

class World {
  readonly cluster = new MemoryCluster('c');
  readonly marks: MemoryMarks = createMemoryMarks();
  readonly queue = new FakeQueue();
  readonly events: IngestEvent[] = [];
  #sent = 0;

  constructor() {
    this.cluster.create('t', 0);
  }

  send(count: number): void {
    const records = Array.from({ length: count }, () => ({
      key: null,
      headers: [],
      timestampMs: 1,
      value: Buffer.from(`m${this.#sent++}`),
    }));
    this.cluster.append('t', 0, records);
  }

  get sent(): number {
    return this.#sent;
  }

  committed(): string | undefined {
    return this.cluster.commits.get('g t/0');
  }

  async start(
    more: {
      maxChunk?: number;
      maxBatch?: number;
      marks?: MarkStore;
      enqueue?: FakeQueue['enqueue'];
      change?: (batch: SourceBatch) => SourceBatch;
    } = {},
  ) {
    const clock = aClock();
    const source: ChangeSource = createMemorySource({
      cluster: this.cluster,
      groupId: 'g',
      topics: ['t'],
      maxBatch: more.maxBatch ?? 10,
      // Two of them own the same partition at once, which is what the mark is for.
      isAlone: true,
      clock,
    });
    const handOff = createHandOff({
      source,
      queue: { enqueue: more.enqueue ?? ((chunks) => this.queue.enqueue(chunks)) },
      marks: more.marks ?? this.marks,
      machine: 'm@1',
      limits: { maxChunkMessages: more.maxChunk ?? 4, maxChunkBytes: 1_000 },
      backPressure: { reason: () => Promise.resolve('') },
      onMissingMark: 'earliest',
      clock,
      log: silentLog,
      events: (event) => void this.events.push(event),
    });
    await source.start((batch) => handOff.handle(more.change === undefined ? batch : more.change(batch)));
    return {
      source,
      async stop(): Promise<void> {
        await source.close();
        await handOff.close();
      },
    };
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; turns < 20_000; turns += 1) {
    if (condition()) return;
    await tick();
  }
  throw new Error('it never happened');
}

describe('the hand-off', () => {
  it('gives back the turn of a batch whose membership ended while it waited: the partition would stand still for good', async () => {
    const world = new World();
    world.send(1);
    let answer: Promise<unknown> = Promise.resolve();
    const marks: MarkStore = { ...world.marks, read: (name) => answer.then(() => world.marks.read(name)) };
    let isOver = false;
    let ended = 0;
    const change = (batch: SourceBatch): SourceBatch => ({
      ...batch,
      heartbeat() {
        if (!isOver) return batch.heartbeat();
        ended += 1;
        return Promise.reject(fail('E_ABORTED', { reason: 'the group rebalances' }));
      },
    });
    const { stop } = await world.start({ marks, change });
    await until(() => world.committed() === '1');
    // Redis comes back and is slow: the comparison of mark and commit has the partition, the next batch waits for it.
    const slow = Promise.withResolvers<void>();
    answer = slow.promise;
    world.marks.comeBack('Redis is connected again');
    isOver = true;
    world.send(1);
    await until(() => ended > 0);
    isOver = false;
    slow.resolve();
    await until(() => world.committed() === '2');
    await stop();
  });

  it('enqueues chunks under their coordinates, then moves the mark, then commits', async () => {
    const world = new World();
    const order: string[] = [];
    const enqueue = (chunks: readonly QueuedChunk[]): Promise<void> => {
      order.push(`enqueue ${chunks.map(({ id }) => id).join(' ')}`);
      return world.queue.enqueue(chunks);
    };
    const marks: MarkStore = {
      ...world.marks,
      move(stream, from, to) {
        order.push(`mark ${to.enqueued}/${to.committed}`);
        return world.marks.move(stream, from, to);
      },
    };
    const change = (batch: SourceBatch): SourceBatch => ({
      ...batch,
      commit(offset) {
        order.push(`commit ${offset}`);
        return batch.commit(offset);
      },
    });
    world.send(6);
    const running = await world.start({ enqueue, marks, change });
    await until(() => order.includes('mark 5/6'));
    await running.stop();
    expect(order).toEqual(['mark /', 'enqueue g.t.0.0.0-3 g.t.0.0.4-5', 'mark 5/', 'commit 5', 'mark 5/6']);
    const [chunk] = world.queue.jobs.values();
    expect(chunk).toMatchObject({
      name: 't/0 0–3',
      data: { machine: 'm@1', stream: 't-0', epoch: 0, positions: ['0', '1', '2', '3'] },
    });
  });

  it('stands aside while jobs of its partition are open in another shard: its handler returns, so that others go on', async () => {
    const world = new World();
    let isDrained = false;
    let looks = 0;
    const marks: MarkStore = {
      ...world.marks,
      settle() {
        looks += 1;
        return isDrained
          ? Promise.resolve()
          : Promise.reject(fail('E_SHARD_DRAINING', { stream: 't-0', from: 0, to: 2 }));
      },
    };
    world.send(3);
    const running = await world.start({ marks });
    await until(() => looks > 20);
    expect(running.source.positions()).toMatchObject([{ isPaused: true, resolved: '' }]);
    expect(world.queue.jobs.size).toBe(0);
    const waiting = world.events.flatMap((event) => (event.kind === 'waiting' ? event.reason : []));
    expect(waiting).toEqual([
      'Jobs of t-0 are unfinished in shard 0 of the queue; it goes on in shard 2 when they are done.',
    ]);
    isDrained = true;
    await until(() => world.committed() === '3');
    await running.stop();
    expect(world.events.map(({ kind }) => kind).filter((kind) => kind !== 'taken')).toEqual([
      'waiting',
      'resumed',
      'enqueued',
    ]);
  });

  it('commits nothing and repeats the same ids as long as the queue does not confirm', async () => {
    const world = new World();
    const asked: string[][] = [];
    const enqueue = (chunks: readonly QueuedChunk[]): Promise<void> => {
      asked.push(chunks.map(({ id }) => id));
      expect(world.committed()).toBeUndefined();
      return asked.length < 4
        ? Promise.reject(fail('E_ENQUEUE_FAILED', { reason: 'test' }))
        : world.queue.enqueue(chunks);
    };
    world.send(3);
    const running = await world.start({ enqueue });
    await until(() => world.committed() === '3');
    await running.stop();
    expect(asked).toEqual(Array.from({ length: 4 }, () => ['g.t.0.0.0-2']));
    expect(world.events.map(({ kind }) => kind)).toEqual(['taken', 'waiting', 'resumed', 'enqueued']);
  });

  it('repeats after a crash between queue and mark, and the queue knows the ids', async () => {
    const world = new World();
    const marks: MarkStore = {
      ...world.marks,
      move: (stream, from, to) =>
        to.enqueued === '' ? world.marks.move(stream, from, to) : Promise.reject(new Error('crashed')),
    };
    world.send(3);
    const first = await world.start({ marks });
    await until(() => world.queue.jobs.size === 1);
    await first.stop();
    expect(await world.marks.read(NAME)).toMatchObject({ enqueued: '' });
    const second = await world.start();
    await until(() => world.committed() === '3');
    await second.stop();
    expect([...world.queue.jobs.keys()]).toEqual(['g.t.0.0.0-2']);
  });

  it('begins an epoch in the store before the first enqueue of it, so that its ids can never meet those of another log', async () => {
    const world = new World();
    world.send(3);
    const stuck = await world.start({
      marks: { ...world.marks, move: () => Promise.reject(new Error('away')) },
    });
    await until(() => world.events.some(({ kind }) => kind === 'waiting'));
    await stuck.stop();
    expect(world.queue.jobs.size).toBe(0);
  });

  it('lets the next batch have its turn when a partition is lost while a batch waits for its own', async () => {
    const world = new World();
    const comparing = Promise.withResolvers<void>();
    const marks: MarkStore = {
      ...world.marks,
      async read(stream) {
        await comparing.promise;
        return world.marks.read(stream);
      },
    };
    let beats = 0;
    const change = (batch: SourceBatch): SourceBatch => ({
      ...batch,
      async heartbeat() {
        beats += 1;
        if (beats > 2) return batch.heartbeat();
        if (beats === 2) comparing.resolve();
        throw fail('E_ABORTED', { reason: 'not a member' });
      },
    });
    // Nothing to read yet: the comparison after the join has the turn.
    const running = await world.start({ marks, change });
    world.send(3);
    await until(() => world.committed() === '3');
    await running.stop();
    expect(beats).toBeGreaterThan(1);
  });

  it('takes no commit that was noted between its two looks for an offset that was set back', async () => {
    const world = new World();
    world.send(4);
    const owner = await world.start();
    while ((await world.marks.read(NAME))?.committed !== '4') await tick();
    await owner.stop();
    let looks = 0;
    const change = (batch: SourceBatch): SourceBatch => ({
      ...batch,
      committed: () => ((looks += 1) === 1 ? Promise.resolve('2') : batch.committed()),
    });
    world.send(1);
    const next = await world.start({ change });
    await until(() => world.committed() === '5');
    await next.stop();
    expect(world.events.filter((event) => event.kind === 'taken').map(({ decision }) => decision)).toEqual([
      'fresh',
      'level',
    ]);
    expect(looks).toBeGreaterThan(1);
  });

  it('enqueues again before it moves a mark whose move got no answer: Redis may have lost jobs and mark, and the process may die', async () => {
    const world = new World();
    const order: string[] = [];
    let isLost = false;
    const marks: MarkStore = {
      ...world.marks,
      move(stream, from, to) {
        order.push(`mark ${to.enqueued}`);
        if (to.enqueued !== '2' || isLost) return world.marks.move(stream, from, to);
        isLost = true;
        world.queue.jobs.clear();
        return Promise.reject(new Error('no answer'));
      },
    };
    const enqueue = (chunks: readonly QueuedChunk[]): Promise<void> => {
      order.push('enqueue');
      return world.queue.enqueue(chunks);
    };
    world.send(3);
    const running = await world.start({ marks, enqueue });
    await until(() => world.committed() === '3');
    await running.stop();
    expect(order.slice(0, 5)).toEqual(['mark ', 'enqueue', 'mark 2', 'enqueue', 'mark 2']);
    expect(world.queue.messages()).toEqual(['0:0="m0"', '0:1="m1"', '0:2="m2"']);
  });

  it('reads again what a rolled-back Redis lost, though no commit is past it and no new message comes', async () => {
    const world = new World();
    world.send(10);
    const change = (batch: SourceBatch): SourceBatch => ({
      ...batch,
      commit: () => Promise.reject(new Error('Kafka does not take commits')),
    });
    const running = await world.start({ change, maxChunk: 1 });
    await until(() => world.queue.jobs.size === 10);
    while ((await world.marks.read(NAME))?.enqueued !== '9') await tick();
    const mark = await world.marks.read(NAME);
    for (const id of [...world.queue.jobs.keys()].slice(5)) world.queue.jobs.delete(id);
    world.marks.rollBack(NAME, mark === null ? null : { ...mark, enqueued: '4' });
    world.marks.comeBack('restored');
    await until(() => world.queue.jobs.size === 10);
    await running.stop();
  });

  it('keeps bytes, keys and headers as they are', async () => {
    const world = new World();
    const value = Buffer.from([0xff, 0x00]);
    world.cluster.append('t', 0, [
      {
        value,
        key: Buffer.from('ключ'),
        headers: [
          ['h', Buffer.from('1')],
          ['h', value],
        ],
        timestampMs: 7,
      },
      { value: null, key: null, headers: [], timestampMs: 8 },
    ]);
    const running = await world.start();
    await until(() => world.queue.jobs.size === 1);
    await running.stop();
    const [chunk] = world.queue.jobs.values();
    expect(chunk?.data).toMatchObject({
      values: [{ base64: '/wA=' }, null],
      keys: ['ключ', null],
      headers: [
        [
          ['h', '1'],
          ['h', { base64: '/wA=' }],
        ],
        [],
      ],
      times: [7, 8],
    });
  });

  it('loses nothing through any sequence of faults, restarts and second owners, and never commits what is not enqueued', async () => {
    const fault = fc.constantFrom('ok', 'refuse', 'doThenFail');
    const round = fc.record({
      send: fc.integer({ min: 0, max: 9 }),
      faults: fc.array(fault, { maxLength: 6 }),
      maxChunk: fc.integer({ min: 1, max: 5 }),
      maxBatch: fc.integer({ min: 1, max: 12 }),
      turns: fc.integer({ min: 0, max: 40 }),
      owners: fc.integer({ min: 1, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 5 }), async (rounds) => {
        const world = new World();
        for (const { send, faults, turns, owners, ...sizes } of rounds) {
          world.send(send);
          const left = [...faults];
          const faulty = async <T>(work: () => Promise<T>): Promise<T> => {
            const next = left.shift() ?? 'ok';
            if (next === 'refuse') throw new Error('refused');
            const done = await work();
            if (next === 'doThenFail') throw new Error('the answer was lost');
            return done;
          };
          const change = (batch: SourceBatch): SourceBatch => ({
            ...batch,
            commit: (offset) => {
              const taken = new Set(world.queue.messages());
              for (let at = 0; at <= Number(offset); at += 1) expect(taken).toContain(`0:${at}="m${at}"`);
              return faulty(() => batch.commit(offset));
            },
          });
          const marks: MarkStore = {
            ...world.marks,
            move: (...args) => faulty(() => world.marks.move(...args)),
          };
          const enqueue = (chunks: readonly QueuedChunk[]): Promise<void> =>
            faulty(() => world.queue.enqueue(chunks));
          const running = await Promise.all(
            Array.from({ length: owners }, () => world.start({ ...sizes, change, marks, enqueue })),
          );
          for (let turn = 0; turn < turns; turn += 1) await tick();
          await Promise.all(running.map((each) => each.stop()));
        }
        const last = await world.start();
        await until(() => world.committed() === String(world.sent) || world.sent === 0);
        await last.stop();
        expect(new Set(world.queue.messages())).toEqual(
          new Set(Array.from({ length: world.sent }, (_, at) => `0:${at}="m${at}"`)),
        );
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  it('gets back what a rolled-back Redis lost, whatever is under way at that moment', async () => {
    const round = fc.record({
      before: fc.integer({ min: 1, max: 15 }),
      after: fc.integer({ min: 0, max: 15 }),
      during: fc.integer({ min: 0, max: 15 }),
      turns: fc.tuple(
        fc.integer({ min: 0, max: 25 }),
        fc.integer({ min: 0, max: 25 }),
        fc.integer({ min: 0, max: 25 }),
      ),
      maxBatch: fc.integer({ min: 1, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(round, async ({ before, after, during, turns, maxBatch }) => {
        const world = new World();
        const pass = async (count: number): Promise<void> => {
          for (let turn = 0; turn < count; turn += 1) await tick();
        };
        world.send(before);
        // An answer takes a moment, so that the roll-back can come at any point of a hand-off.
        const enqueue = async (chunks: readonly QueuedChunk[]): Promise<void> => {
          await pass(2);
          await world.queue.enqueue(chunks);
          await pass(1);
        };
        const read: MarkStore['read'] = async (stream) => {
          await pass(3);
          return world.marks.read(stream);
        };
        const running = await world.start({ maxBatch, enqueue, marks: { ...world.marks, read } });
        await pass(turns[0]);
        const [jobs, mark] = [new Map(world.queue.jobs), await world.marks.read(NAME)];
        world.send(after);
        await pass(turns[1]);
        world.queue.jobs.clear();
        for (const [id, chunk] of jobs) world.queue.jobs.set(id, chunk);
        world.marks.rollBack(NAME, mark);
        world.send(during);
        world.marks.comeBack('restored');
        await pass(turns[2]);
        world.send(1);
        const values = () => new Set(world.queue.messages().map((message) => message.split('=')[1]));
        await until(() => values().size === world.sent);
        await running.stop();
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});
