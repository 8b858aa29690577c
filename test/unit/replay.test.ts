import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MemoryCluster } from '../../src/adapters/memory-cluster.ts';
import { createMemoryMarks } from '../../src/adapters/memory-marks.ts';
import { createMemorySource } from '../../src/adapters/memory-source.ts';
import { offsetsIn, timeIn } from '../../src/cli/replay-start.ts';
import { fail } from '../../src/core/errors.ts';
import { unpackChunk } from '../../src/core/packed-chunk.ts';
import type { Clock, LogBounds, Mark, QueuedChunk } from '../../src/core/ports.ts';
import { replay, type ReplayProgress, type ReplayReport } from '../../src/ingest/replay.ts';
import { planReplay, type ReplayRange } from '../../src/ingest/replay-plan.ts';
import { silentLog } from '../../src/testing/paths.ts';

const LOG = 'log-1';
const aMark = (more: Partial<Mark> = {}): Mark => ({
  epoch: 4,
  enqueued: '9',
  committed: '10',
  logId: LOG,
  ...more,
});
const bounds = (low: number, high: number, logId = LOG): LogBounds => ({
  low: String(low),
  high: String(high),
  logId,
});
const plan = (
  mark: Mark | null,
  log: LogBounds,
  from?: Readonly<Record<number, string>>,
  only?: readonly number[],
): ReplayRange[] =>
  planReplay({
    topic: 't',
    logs: new Map([
      [0, log],
      [1, bounds(0, 0)],
    ]),
    marks: new Map([[0, mark]]),
    from:
      from === undefined
        ? undefined
        : new Map(Object.entries(from).map(([at, offset]) => [Number(at), offset])),
    only,
  });

describe('the plan of a replay', () => {
  it('goes from the oldest message to where live ingest stands, in the epoch of the mark', () => {
    expect(plan(aMark(), bounds(3, 20))).toEqual([
      { topic: 't', partition: 0, from: '3', end: '10', epoch: 4, logId: LOG, lost: 0 },
      { topic: 't', partition: 1, from: '0', end: '0', epoch: 0, logId: LOG, lost: 0 },
    ]);
  });

  it('begins at an offset, says what retention removed, and is empty behind the mark', () => {
    expect(plan(aMark(), bounds(3, 20), { 0: '7' })).toMatchObject([{ from: '7', end: '10', lost: 0 }]);
    expect(plan(aMark(), bounds(3, 20), { 0: '1' })).toMatchObject([{ from: '3', end: '10', lost: 2 }]);
    expect(plan(aMark(), bounds(3, 20), { 0: '15' })).toMatchObject([{ from: '10', end: '10' }]);
    expect(plan(aMark({ enqueued: '1' }), bounds(5, 20))).toMatchObject([{ from: '5', end: '5' }, {}]);
  });

  it('ends where an epoch began of which nothing is enqueued yet', () => {
    expect(plan(aMark({ enqueued: '', committed: '6' }), bounds(0, 20))).toMatchObject([{ end: '6' }, {}]);
    expect(plan(aMark({ enqueued: '', committed: '' }), bounds(0, 20))).toMatchObject([{ end: '0' }, {}]);
  });

  it('keeps to the partitions it is told', () => {
    expect(plan(aMark(), bounds(0, 20), undefined, [1]).map(({ partition }) => partition)).toEqual([1]);
  });

  it.each([
    ['a partition that is not there', () => plan(aMark(), bounds(0, 20), { 5: '0' }), 'no such partition'],
    ['another that is not there', () => plan(aMark(), bounds(0, 20), undefined, [5]), 'no such partition'],
    ['a log that nobody has taken in', () => plan(null, bounds(0, 20)), 'never taken in'],
    ['a topic that was made anew', () => plan(aMark(), bounds(0, 20, 'log-2')), 'made anew'],
  ])('refuses %s', (_, ask, reason) => {
    expect(ask).toThrow(reason);
  });
});

describe('where a replay begins', () => {
  it.each([
    ['2h', 10_000_000 - 7_200_000],
    ['1767225600000', 1_767_225_600_000],
    ['2026-01-01T00:00:00Z', 1_767_225_600_000],
  ])('reads the time %s', (text, ms) => {
    expect(timeIn(text, 10_000_000)).toBe(ms);
  });

  it.each(['yesterday', '2026-01-01T00:00:00', '-5'])('refuses the time %s', (text) => {
    expect(() => timeIn(text, 0)).toThrow('--since');
  });

  it.each([
    ['0:12,3:07', ''],
    ['file', '{"0":"12","3":7}'],
    ['file', '{"t":{"0":12,"3":"7"},"other":{"0":1}}'],
    ['file', '{"topic":"t","end":"interrupted","offsets":{"0":"12","3":"7"}}'],
  ])('reads the offsets %s %s', (text, content) => {
    expect([...offsetsIn('t', text, () => content)]).toEqual([
      [0, '12'],
      [3, '7'],
    ]);
  });

  it.each(['[1]', 'nothing', '{"0":"x"}', '{"zero":1}'])('refuses the offsets %s', (content) => {
    expect(() => offsetsIn('t', 'file', () => content)).toThrow(/offsets|JSON/);
  });
});

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

class World {
  readonly cluster = new MemoryCluster('c');
  readonly marks = createMemoryMarks();
  readonly clock = aClock();
  readonly jobs: QueuedChunk[] = [];
  readonly asked: string[] = [];
  readonly waits: string[] = [];
  readonly progress: ReplayProgress[] = [];
  readonly stop = new AbortController();
  pressure = '';
  faults = 0;

  constructor(messages: number) {
    this.cluster.create('t', 0);
    this.cluster.append(
      't',
      0,
      Array.from({ length: messages }, (_, at) => ({
        key: null,
        headers: [],
        timestampMs: 1,
        value: Buffer.from(`m${at}`),
      })),
    );
  }

  async run(
    mark: Mark,
    perSecond = 0,
    onProgress?: (at: ReplayProgress) => Promise<void>,
  ): Promise<ReplayReport> {
    await this.marks.move({ clusterId: 'c', groupId: 'g', topic: 't', partition: 0 }, null, mark);
    const { clock } = this;
    const log = this.cluster.log('t', 0);
    const logs = new Map([
      [0, { low: String(log.low), high: String(log.low + log.records.length), logId: log.logId }],
    ]);
    const ranges = planReplay({ topic: 't', logs, marks: new Map([[0, mark]]), from: undefined });
    const source = createMemorySource({
      cluster: this.cluster,
      groupId: 'g-replay',
      topics: ['t'],
      maxBatch: 5,
      clock,
    });
    const options = {
      source,
      queue: {
        enqueue: (chunks: readonly QueuedChunk[]): Promise<void> => {
          this.asked.push(...chunks.map(({ id }) => id));
          this.faults -= 1;
          if (this.faults >= 0) return Promise.reject(fail('E_ENQUEUE_FAILED', { reason: 'test' }));
          this.jobs.push(...chunks);
          return Promise.resolve();
        },
      },
      marks: this.marks,
      groupId: 'g',
      backPressure: { reason: () => Promise.resolve(this.pressure) },
      machine: 'm@1',
      limits: { maxChunkMessages: 3, maxChunkBytes: 1_000 },
      name: 'x',
      perSecond,
      clock,
      log: silentLog,
    };
    return replay(options, {
      ranges,
      signal: this.stop.signal,
      onProgress: async (at) => {
        this.progress.push(at);
        await onProgress?.(at);
      },
      onWait: (reason) => void this.waits.push(reason),
    });
  }

  positions(): string[] {
    return this.jobs.flatMap((job) => {
      const { epoch, positions } = unpackChunk(job.data);
      return positions.map((position) => `${epoch}:${position}`);
    });
  }
}

const until = (enqueued: number): Mark => aMark({ enqueued: String(enqueued) });

describe('a replay', () => {
  it('enqueues under ids of its own, in the epoch of live ingest, and neither commits nor moves a mark', async () => {
    const world = new World(9);
    const report = await world.run(until(6));
    expect(report).toEqual({
      end: 'done',
      partitions: [{ topic: 't', partition: 0, next: '7', messages: 7 }],
    });
    expect(world.jobs.map(({ id, name }) => [id, name])).toEqual([
      ['g.t.0.4.0-2.rx', 't/0 0–2 replayed'],
      ['g.t.0.4.3-4.rx', 't/0 3–4 replayed'],
      ['g.t.0.4.5-6.rx', 't/0 5–6 replayed'],
    ]);
    expect(world.positions()).toEqual(['4:0', '4:1', '4:2', '4:3', '4:4', '4:5', '4:6']);
    expect(world.cluster.commits.size).toBe(0);
    const name = { clusterId: 'c', groupId: 'g', topic: 't', partition: 0 };
    expect(await world.marks.read(name)).toEqual(until(6));
  });

  it('repeats the same ids as long as the queue does not confirm, and says that it waits', async () => {
    const world = new World(3);
    world.faults = 3;
    expect((await world.run(until(2))).end).toBe('done');
    expect(world.asked).toEqual(Array.from({ length: 4 }, () => 'g.t.0.4.0-2.rx'));
    expect(world.waits).toHaveLength(1);
  });

  it('keeps to its rate, in chunks no larger than a second of it', async () => {
    const world = new World(20);
    await world.run(until(19), 2);
    expect(Math.max(...world.jobs.map(({ data }) => unpackChunk(data).positions.length))).toBe(2);
    expect(world.clock.now()).toBeGreaterThan(8_000);
  });

  it('waits while the queue is full, and goes on', async () => {
    const world = new World(3);
    world.pressure = 'queue jobs 500 > 200';
    const running = world.run(until(2));
    for (let turns = 0; turns < 2_000 && world.waits.length === 0; turns += 1) await tick();
    expect([world.waits, world.jobs]).toEqual([['queue jobs 500 > 200'], []]);
    world.pressure = '';
    expect((await running).end).toBe('done');
  });

  it('stops between two chunks when it is told to, and says where it goes on', async () => {
    const world = new World(20);
    const report = await world.run(until(19), 0, async ({ next }) => {
      if (Number(next) >= 8) world.stop.abort();
    });
    expect(report.end).toBe('interrupted');
    const next = Number(report.partitions[0]?.next);
    expect(world.positions()).toEqual(Array.from({ length: next }, (_, at) => `4:${at}`));
  });

  it('stops when live ingest begins a new epoch: what is left has no place in it', async () => {
    const world = new World(20);
    const name = { clusterId: 'c', groupId: 'g', topic: 't', partition: 0 };
    const running = world.run(until(19), 0, async ({ next }) => {
      if (next === '3') await world.marks.move(name, until(19), { ...until(19), epoch: 5 });
    });
    await expect(running).rejects.toMatchObject({ code: 'E_REPLAY_STOPPED' });
    expect(world.positions()).toEqual(['4:0', '4:1', '4:2']);
  });

  it('ends when retention removes what is left', async () => {
    const world = new World(20);
    const report = await world.run(until(19), 0, async ({ next }) => {
      if (next === '3') world.cluster.dropBefore('t', 0, 20);
    });
    expect(report).toMatchObject({ end: 'done', partitions: [{ next: '20' }] });
  });

  it('stops when the topic is made anew', async () => {
    const world = new World(20);
    const running = world.run(until(19), 0, async ({ next }) => {
      if (next === '3') {
        world.cluster.create('t', 0);
        world.cluster.append('t', 0, [{ key: null, headers: [], timestampMs: 1, value: Buffer.from('new') }]);
      }
    });
    await expect(running).rejects.toMatchObject({ code: 'E_REPLAY_STOPPED' });
  });
});
