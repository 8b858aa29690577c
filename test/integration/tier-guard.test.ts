import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createMemoryMarks } from '../../src/adapters/memory-marks.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisTierMarks } from '../../src/adapters/redis-tier-mark.ts';
import type { TierMarks } from '../../src/core/ports.ts';
import { createTierGuard, type TierFall, type TierGuard } from '../../src/ingest/tier-guard.ts';
import { createTierRepair } from '../../src/ingest/tier-repair.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

const PREFIX = '{guard}';

describeWith(['redis'], 'the tier mark in two Redis servers', () => {
  let queueServer: RedisServer;
  let cacheServer: RedisServer;
  let clients: RedisClient[];
  let tierMarks: TierMarks;
  let marks: ReturnType<typeof createMemoryMarks>;
  let falls: TierFall[];
  let jobs: Queue;
  let guards = 0;

  const connect = async ({ url }: RedisServer): Promise<RedisClient> => {
    const options = { url, name: 'guard', connectTimeoutMs: 2_000, commandTimeoutMs: 5_000 };
    const redis = connectRedis({ ...options, onError: () => undefined });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
    clients.push(redis);
    return redis;
  };
  const aGuard = (onBehind: 'replay' | 'warn' = 'replay', over: TierMarks = tierMarks): TierGuard =>
    createTierGuard({
      marks,
      tierMarks: over,
      groupId: 'a.group',
      name: `instance-${(guards += 1)}`,
      partitions: () =>
        Promise.resolve([0, 1].map((partition) => ({ clusterId: 'c', topic: 'a.topic', partition }))),
      onBehind,
      onFall: (fall) => void falls.push(fall),
    });
  const enqueued = async (partition: number, offset: number): Promise<void> => {
    const name = { clusterId: 'c', groupId: 'a.group', topic: 'a.topic', partition };
    const mark = await marks.read(name);
    await marks.move(name, mark, { epoch: 0, enqueued: String(offset), committed: '', logId: 'l' });
  };
  const back = async (redis: RedisClient | undefined): Promise<void> => {
    if (redis !== undefined) await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
  };
  /** Copies what a server has on disk; the returned function puts it back, as a restored backup. */
  const backUp = (server: RedisServer): (() => Promise<void>) => {
    const copy = mkdtempSync(join(tmpdir(), 'cachewright-test-aof-'));
    const live = join(server.dir, 'appendonlydir');
    cpSync(live, copy, { recursive: true });
    return async () => {
      await server.kill();
      rmSync(live, { recursive: true });
      cpSync(copy, live, { recursive: true });
      rmSync(copy, { recursive: true });
      await server.restart();
      await Promise.all(clients.map(back));
    };
  };
  const done = async () => (await tierMarks.cacheBeat())?.done;
  const sequences = async () => [
    (await tierMarks.queueBeat())?.sequence,
    (await tierMarks.cacheBeat())?.sequence,
  ];

  beforeEach(async () => {
    const durable = { appendonly: true, config: ['appendfsync always'] };
    [queueServer, cacheServer] = await Promise.all([startRedis(durable), startRedis(durable)]);
    clients = [];
    falls = [];
    marks = createMemoryMarks();
    const [queueRedis, cacheRedis] = [await connect(queueServer), await connect(cacheServer)];
    tierMarks = createRedisTierMarks({ queueRedis, cacheRedis, prefix: PREFIX, queue: 'changes' });
    jobs = new Queue('changes', {
      connection: { host: '127.0.0.1', port: queueServer.port },
      prefix: PREFIX,
    });
    jobs.on('error', () => undefined);
    await enqueued(0, 99);
  });
  afterEach(async () => {
    await jobs.close();
    for (const redis of clients) redis.disconnect();
    await Promise.all([queueServer.stop(), cacheServer.stop()]);
  });

  it('beats in both, and says below which offsets everything is done', async () => {
    const guard = aGuard();
    await guard.look();
    expect([await sequences(), await done()]).toEqual([[1, 1], { 'a.topic/0': '100', 'a.topic/1': '0' }]);
    const add = (id: string, more = {}) => jobs.add('chunk', {}, { jobId: id, ...more });
    await add('a%2Egroup.a.topic.0.0.90-95');
    await add('a%2Egroup.a.topic.0.0.70-75.a', { delay: 60_000 });
    await add('a%2Egroup.a.topic.0.0.8-9.r1234', { priority: 5 });
    await add('a%2Egroup.a.topic.1.3.5-6');
    // Not of this group, or not from Kafka.
    await add('b%2Egroup.a.topic.1.0.2-3');
    await add('http.01AB-01CD');
    await add('file%3Aabc%2E0.1-7');
    await enqueued(1, 9);
    await guard.look();
    expect([await sequences(), await done()]).toEqual([[2, 2], { 'a.topic/0': '8', 'a.topic/1': '5' }]);
    expect(falls).toEqual([]);
  });

  it('finds a cache that was restored from a backup, and from where on it is to be replayed', async () => {
    const guard = aGuard();
    await guard.look();
    const restore = backUp(cacheServer);
    for (let beats = 0; beats < 3; beats += 1) {
      await enqueued(0, 200 + beats);
      await guard.look();
    }
    await restore();
    expect(await sequences()).toEqual([4, 1]); // the fault
    await guard.look();
    const from = { 'a.topic/0': '100', 'a.topic/1': '0' };
    expect(falls).toEqual([{ kind: 'behind', beats: 3, from }]);
    expect([await sequences(), await tierMarks.repair()]).toEqual([[5, 5], from]);
    expect((await tierMarks.queueBeat())?.falls).toBe(1);
    // Until it is repaired, what is to be replayed does not count as done.
    expect(await done()).toEqual(from);
    await guard.look();
    expect(falls).toHaveLength(1);
    expect(await done()).toEqual(from);
  });

  it('takes a server that was started anew for one that may have lost what came after the last beat', async () => {
    const guard = aGuard();
    await guard.look();
    await enqueued(0, 150);
    await cacheServer.restart();
    await Promise.all(clients.map(back));
    await guard.look();
    expect(falls).toEqual([{ kind: 'restarted', beats: 0, from: { 'a.topic/0': '100', 'a.topic/1': '0' } }]);
  });

  it('replays everything into a cache that was emptied', async () => {
    const guard = aGuard();
    await guard.look();
    await cacheServer.ask('FLUSHALL');
    await guard.look();
    expect(falls).toEqual([{ kind: 'empty', beats: 1, from: { 'a.topic/0': '0', 'a.topic/1': '0' } }]);
  });

  it("says nothing when it is the queue's Redis that forgot: the marks see to that", async () => {
    const guard = aGuard();
    for (let beats = 0; beats < 3; beats += 1) await guard.look();
    await queueServer.ask('FLUSHALL');
    await guard.look();
    expect([falls, await sequences()]).toEqual([[], [4, 4]]);
  });

  it('only tells of it where it is told so', async () => {
    const guard = aGuard('warn');
    await guard.look();
    await cacheServer.ask('FLUSHALL');
    await guard.look();
    await guard.look();
    expect(falls.map(({ kind }) => kind)).toEqual(['empty']);
    expect([await tierMarks.repair(), await done()]).toEqual([
      null,
      { 'a.topic/0': '100', 'a.topic/1': '0' },
    ]);
  });

  it('is told once by however many instances', async () => {
    const all = [aGuard(), aGuard(), aGuard()];
    await Promise.all(all.map((guard) => guard.look()));
    await cacheServer.ask('FLUSHALL');
    for (let round = 0; round < 3; round += 1) await Promise.all(all.map((guard) => guard.look()));
    expect(falls).toHaveLength(1);
    expect((await tierMarks.queueBeat())?.falls).toBe(1);
  });

  it('writes no beat into a server that was started anew after it was looked at', async () => {
    await aGuard().look();
    const slow: TierMarks = {
      ...tierMarks,
      async cacheBeat() {
        const beat = await tierMarks.cacheBeat();
        await cacheServer.restart();
        await Promise.all(clients.map(back));
        return beat;
      },
    };
    await aGuard('replay', slow).look();
    expect([falls, await sequences()]).toEqual([[], [1, 1]]);
    await aGuard().look();
    expect(falls.map(({ kind }) => kind)).toEqual(['restarted']);
  });

  it('is repaired by one instance, which keeps the place it has reached for the next', async () => {
    const guard = aGuard();
    await enqueued(1, 9);
    await guard.look();
    await cacheServer.ask('FLUSHALL');
    await guard.look();
    const calls: [string, string][] = [];
    let isRepaired = false;
    const aRepair = (holder: string, until: number) =>
      createTierRepair({
        tierMarks,
        holder,
        async replayTopic(topic, from, reached) {
          calls.push([holder, JSON.stringify([...from])]);
          expect(await Promise.all([reached(0, '40'), reached(1, '5')])).toEqual([true, true]);
          if (until < 100) throw new Error(`${topic} went away`);
        },
        onRepaired: () => (isRepaired = true),
        log: silentLog,
      });
    await aRepair('one', 40)();
    expect(await tierMarks.repair()).toEqual({ 'a.topic/0': '40', 'a.topic/1': '5' });
    await aRepair('other', 100)(); // the first still has it
    expect(calls).toHaveLength(1);
    await aRepair('one', 100)();
    expect(calls).toEqual([
      ['one', '[[0,"0"],[1,"0"]]'],
      ['one', '[[0,"40"],[1,"5"]]'],
    ]);
    expect([isRepaired, await tierMarks.repair()]).toEqual([true, null]);
    await guard.look();
    expect(await done()).toEqual({ 'a.topic/0': '100', 'a.topic/1': '10' });
  });

  it('stops a repair when the cache falls behind once more, and begins it where that one says', async () => {
    const guard = aGuard();
    await guard.look();
    await cacheServer.ask('FLUSHALL');
    await guard.look();
    const goesOn: boolean[] = [];
    await createTierRepair({
      tierMarks,
      holder: 'one',
      async replayTopic(_topic, _from, reached) {
        goesOn.push(await reached(0, '40'));
        await guard.look();
        await cacheServer.ask('FLUSHALL');
        await guard.look();
        goesOn.push(await reached(0, '50'));
      },
      onRepaired: () => expect.fail('it is not'),
      log: silentLog,
    })();
    expect(goesOn).toEqual([true, false]);
    expect(await tierMarks.repair()).toEqual({ 'a.topic/0': '0', 'a.topic/1': '0' });
  });
});
