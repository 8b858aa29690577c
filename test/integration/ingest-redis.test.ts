import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryCluster } from '../../src/adapters/memory-cluster.ts';
import { createMemorySource } from '../../src/adapters/memory-source.ts';
import type { ChangeSource, SourceBatch } from '../../src/core/ports.ts';
import type { Gauge } from '../../src/ingest/back-pressure.ts';
import { clock, type Ingest, type IngestOptions, openQueue, startIngest, values } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { startProxy } from '../support/servers/proxy.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

const PREFIX = '{ingest}';
const MARK = `${PREFIX}:mark:g:t:0`;

describeWith(['redis'], 'ingest and a Redis that forgets, refuses or is away', () => {
  let server: RedisServer;
  let cluster: MemoryCluster;
  let queue: ReturnType<typeof openQueue>;
  let running: Ingest[];

  beforeEach(async () => {
    server = await startRedis({ appendonly: true, config: ['appendfsync always'] });
    cluster = new MemoryCluster('memory');
    cluster.create('t', 0);
    queue = openQueue(server.url, PREFIX);
    running = [];
  });
  afterEach(async () => {
    for (const each of running) await each.stop();
    await queue.close();
    await server.stop();
  });

  const append = (...texts: string[]): void =>
    cluster.append(
      't',
      0,
      texts.map((text) => ({ value: Buffer.from(text), key: null, headers: [], timestampMs: 1 })),
    );
  const aSource = (more: { isAlone?: boolean } = {}): ChangeSource =>
    createMemorySource({ cluster, groupId: 'g', topics: ['t'], clock, ...more });
  const start = async (
    more: Partial<Pick<IngestOptions, 'redisUrl' | 'limits' | 'onMissingMark' | 'gauges' | 'source'>> = {},
  ) => {
    const ingest = await startIngest({ redisUrl: server.url, prefix: PREFIX, source: aSource(), ...more });
    running.push(ingest);
    return ingest;
  };
  const committed = (): string | undefined => cluster.commits.get('g t/0');
  const found = async (count: number) =>
    (await queue.waitForMessages(count)).map(({ epoch, position }) => [epoch, Number(position)]);
  const isNoted = (offset: string) =>
    waitFor(async () => (await server.ask(`HGETALL ${MARK}`)).includes(`"committed":"${offset}"`), {
      what: 'the mark',
    });
  const backUp = (): (() => Promise<void>) => {
    const copy = mkdtempSync(join(tmpdir(), 'cachewright-test-aof-'));
    const live = join(server.dir, 'appendonlydir');
    cpSync(live, copy, { recursive: true });
    return async () => {
      await server.kill();
      rmSync(live, { recursive: true });
      cpSync(copy, live, { recursive: true });
      rmSync(copy, { recursive: true });
      await server.restart();
    };
  };

  it('reads everything again when there are commits but no mark, above every epoch there may have been', async () => {
    append(...values(3));
    const first = await start();
    await found(3);
    await isNoted('3');
    await first.stop();
    await server.ask('FLUSHALL');
    const second = await start();
    const all = await found(3);
    expect(all.map(([, position]) => position)).toEqual([0, 1, 2]);
    expect(all[0]?.[0]).toBeGreaterThan(1_700_000_000);
    expect(second.decisions()).toEqual(['markMissing']);
    expect(second.log.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('goes on at the commit when it is told so', async () => {
    append(...values(3));
    const first = await start();
    await found(3);
    await isNoted('3');
    await first.stop();
    await server.ask('FLUSHALL');
    append('v3');
    const second = await start({ onMissingMark: 'committed' });
    expect((await found(1)).map(([, position]) => position)).toEqual([3]);
    expect(second.decisions()).toEqual(['markMissing']);
  });

  it('goes back to a mark that was rolled back while it was stopped, though no new message comes', async () => {
    append(...values(2));
    const first = await start();
    await found(2);
    await isNoted('2');
    const restore = backUp();
    append(...values(3, 'v', 2));
    await found(5);
    await isNoted('5');
    await first.stop();
    await restore();
    expect(await found(2)).toHaveLength(2); // the fault: three messages are gone
    const second = await start();
    expect(await found(5)).toEqual([0, 1, 2, 3, 4].map((position) => [0, position]));
    expect(second.decisions()).toEqual(['rolledBack']);
    await waitFor(() => committed() === '5', { what: 'the commit' });
  });

  it('goes back to a mark that was rolled back under the running consumer, though no new message comes', async () => {
    append(...values(2));
    const ingest = await start();
    await found(2);
    await isNoted('2');
    const restore = backUp();
    append(...values(3, 'v', 2));
    await found(5);
    await isNoted('5');
    await restore();
    expect(await found(5)).toEqual([0, 1, 2, 3, 4].map((position) => [0, position]));
    expect(ingest.decisions()).toEqual(['rolledBack']);
  });

  it('waits with heartbeats while Redis is away, and goes on by itself', async () => {
    let beats = 0;
    const counted = tapped((batch) => ({ ...batch, heartbeat: () => ((beats += 1), batch.heartbeat()) }));
    const ingest = await start({ source: counted });
    append('v0');
    await found(1);
    await server.stop();
    append('v1', 'v2');
    const before = beats;
    await waitFor(() => ingest.events.some(({ kind }) => kind === 'waiting') && beats > before + 2, {
      what: 'heartbeats while it waits',
    });
    expect(ingest.source.positions()).toContainEqual(expect.objectContaining({ isPaused: true }));
    await server.restart();
    expect(await found(3)).toEqual([0, 1, 2].map((position) => [0, position]));
    await waitFor(() => committed() === '3', { what: 'the commit' });
    expect(ingest.source.positions()).toContainEqual(expect.objectContaining({ isPaused: false }));
    expect(ingest.events.some(({ kind }) => kind === 'resumed')).toBe(true);
  });

  it.each([
    ['is out of memory', 'CONFIG SET maxmemory 1mb', 'CONFIG SET maxmemory 0'],
    ['became a replica', 'REPLICAOF 127.0.0.1 1', 'REPLICAOF NO ONE'],
    ['refuses writes', 'CONFIG SET min-replicas-to-write 1', 'CONFIG SET min-replicas-to-write 0'],
  ])('commits nothing while Redis %s, and goes on by itself', async (_, begin, end) => {
    const ingest = await start();
    append('v0');
    await found(1);
    await isNoted('1');
    await server.ask(begin);
    append('v1', 'v2');
    await waitFor(() => ingest.events.find(({ kind }) => kind === 'waiting'), {
      what: 'the refusal to be noticed',
    });
    expect(committed()).toBe('1');
    await server.ask(end);
    expect(await found(3)).toEqual([0, 1, 2].map((position) => [0, position]));
    await waitFor(() => committed() === '3', { what: 'the commit' });
  });

  it('completes an enqueue that Redis took half of, under the same ids, and commits nothing before', async () => {
    const ingest = await start({ limits: { maxChunkMessages: 1 } });
    append('v0');
    await found(1);
    await isNoted('1');
    let maxBytes = Number(/used_memory:(\d+)/.exec(await server.ask('INFO memory'))?.[1]) + 100_000;
    const limit = (bytes: number) => server.ask(`CONFIG SET maxmemory ${bytes}`);
    await limit(maxBytes);
    append(...Array.from({ length: 8 }, (_, at) => randomBytes(40_000).toString('hex') + String(at)));
    await waitFor(
      async () => {
        const taken = (await queue.seen()).length - 1;
        expect(taken).toBeLessThan(8);
        if (taken > 0) return true;
        await limit((maxBytes += 30_000));
        return undefined;
      },
      { what: 'a part to be taken', everyMs: 200, timeoutMs: 60_000 },
    );
    expect(ingest.events.some(({ kind }) => kind === 'waiting')).toBe(true);
    expect(committed()).toBe('1');
    await limit(0);
    await waitFor(() => committed() === '9', { what: 'the commit', timeoutMs: 30_000 });
    expect(await found(9)).toEqual(Array.from({ length: 9 }, (_, at) => [0, at]));
  });

  it('repeats an enqueue that it had no answer to, and nothing is in the queue twice', async () => {
    const proxy = await startProxy(server.port);
    try {
      const ingest = await start({ redisUrl: `redis://127.0.0.1:${proxy.port}` });
      append('v0');
      await found(1);
      await isNoted('1');
      // Commands arrive and are done, answers do not come back: it cannot be known what happened.
      proxy.dropReplies();
      append('v1', 'v2');
      await waitFor(() => ingest.events.some(({ kind }) => kind === 'waiting') && proxy.droppedBytes() > 0, {
        what: 'it to wait for an answer',
        timeoutMs: 30_000,
      });
      expect(committed()).toBe('1');
      expect(await found(3)).toHaveLength(3); // they are there, all the same
      proxy.unblock();
      await waitFor(() => committed() === '3', { what: 'the commit', timeoutMs: 30_000 });
      expect(await found(3)).toEqual([0, 1, 2].map((position) => [0, position]));
      await ingest.stop();
    } finally {
      await proxy.stop();
    }
  });

  it('waits for a Redis that hangs, with heartbeats, and goes on when it answers', async () => {
    let beats = 0;
    const counted = tapped((batch) => ({ ...batch, heartbeat: () => ((beats += 1), batch.heartbeat()) }));
    const ingest = await start({ source: counted });
    append('v0');
    await found(1);
    server.pause();
    append('v1', 'v2');
    const before = beats;
    await waitFor(() => ingest.events.some(({ kind }) => kind === 'waiting') && beats > before + 2, {
      what: 'heartbeats while it waits',
      timeoutMs: 30_000,
    });
    server.resume();
    await waitFor(() => committed() === '3', { what: 'the commit', timeoutMs: 30_000 });
    expect(await found(3)).toEqual([0, 1, 2].map((position) => [0, position]));
  });

  it('commits nothing while Redis cannot save (MISCONF), and goes on by itself', async () => {
    const ingest = await start();
    append('v0');
    await found(1);
    await isNoted('1');
    // A directory in its place: the snapshot cannot be renamed to it, and Redis refuses writes until one worked.
    const snapshot = join(server.dir, 'dump.rdb');
    rmSync(snapshot, { force: true });
    mkdirSync(join(snapshot, 'in the way'), { recursive: true });
    await server.ask('CONFIG SET save "3600 1"');
    const isRefusing = async () => (await server.ask('SET probe 1')).includes('MISCONF');
    await waitFor(
      async () => {
        if (await isRefusing()) return true;
        await server.ask('BGSAVE');
        return undefined;
      },
      { what: 'Redis to refuse writes', everyMs: 100, timeoutMs: 30_000 },
    );
    append('v1', 'v2');
    await waitFor(() => ingest.events.find(({ kind }) => kind === 'waiting'), { what: 'the refusal' });
    expect(JSON.stringify(ingest.events)).toContain('MISCONF');
    expect([committed(), await isRefusing()]).toEqual(['1', true]);
    rmSync(snapshot, { recursive: true });
    await waitFor(
      async () => {
        if (!(await isRefusing())) return true;
        await server.ask('BGSAVE');
        return undefined;
      },
      { what: 'Redis to take writes again', everyMs: 100, timeoutMs: 30_000 },
    );
    await waitFor(() => committed() === '3', { what: 'the commit', timeoutMs: 30_000 });
    expect(await found(3)).toEqual([0, 1, 2].map((position) => [0, position]));
  });

  it('pauses above the high-water mark and goes on below the low one', async () => {
    let level = 500;
    const gauge: Gauge = { name: 'queue jobs', high: 100, low: 50, read: () => Promise.resolve(level) };
    append('v0');
    const ingest = await start({ gauges: [gauge] });
    await waitFor(() => ingest.events.find(({ kind }) => kind === 'waiting'), { what: 'the pause' });
    expect(ingest.events).toContainEqual(expect.objectContaining({ reason: 'queue jobs 500 > 100' }));
    expect(await queue.seen()).toEqual([]);
    level = 50;
    await found(1);
    expect(ingest.events.some(({ kind }) => kind === 'resumed')).toBe(true);
  });

  it('does no harm as a zombie: its mark does not move, it commits nothing', async () => {
    append(...values(4));
    const held = Promise.withResolvers<void>();
    const commits: string[] = [];
    // The group has given it up, and it does not know.
    const zombieSource = tapped(
      (batch) => ({
        ...batch,
        records: batch.records.slice(0, 2),
        heartbeat: () => Promise.resolve(),
        commit: async (offset) => {
          commits.push(offset);
          await batch.commit(offset);
        },
      }),
      aSource({ isAlone: true }),
    );
    const zombie = await start({ source: zombieSource, gauges: [blockedUntil(held.promise)] });
    await waitFor(async () => (await server.ask(`EXISTS ${MARK}`)).includes(':1'), {
      what: 'the zombie to have taken the partition',
    });
    const owner = await start();
    await found(4);
    await waitFor(() => committed() === '4', { what: 'the owner to commit' });
    await isNoted('4');
    held.resolve();
    await waitFor(() => zombie.events.find(({ kind }) => kind === 'markMoved'), {
      what: 'the zombie to notice',
    });
    expect(commits.filter((offset) => Number(offset) < 3)).toEqual([]);
    expect(committed()).toBe('4');
    append('v4');
    await waitFor(() => committed() === '5', { what: 'the next commit' });
    const positions = new Set((await queue.seen()).map(({ epoch, position }) => `${epoch}:${position}`));
    expect([...positions].toSorted((a, b) => a.localeCompare(b))).toEqual([
      '0:0',
      '0:1',
      '0:2',
      '0:3',
      '0:4',
    ]);
    expect(owner.decisions()).toEqual([]);
  });

  it('commits what was enqueued before a crash, and enqueues none of it again', async () => {
    append(...values(3));
    const lost = tapped((batch) => ({ ...batch, commit: () => Promise.reject(new Error('crashed')) }));
    const first = await start({ source: lost });
    await found(3);
    await first.stop();
    expect(committed()).toBeUndefined();
    const second = await start();
    await waitFor(() => committed() === '3', { what: 'the commit' });
    expect(await found(3)).toHaveLength(3);
    expect(second.decisions()).toEqual([]);
  });

  /** A source whose batches are changed on their way to the hand-off. */
  function tapped(change: (batch: SourceBatch) => SourceBatch, source = aSource()): ChangeSource {
    return new Proxy(source, {
      get(target, name) {
        if (name === 'start')
          return (handler: (batch: SourceBatch) => Promise<void>) =>
            target.start((batch) => handler(change(batch)));
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  function blockedUntil(released: Promise<void>): Gauge {
    return { name: 'held', high: 0, low: 0, read: () => released.then(() => 0) };
  }
});
