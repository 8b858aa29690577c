import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryMarks } from '../../src/adapters/memory-marks.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisMarks } from '../../src/adapters/redis-mark.ts';
import { watchReturns } from '../../src/adapters/redis-returns.ts';
import { openQueueShards } from '../../src/app/queue-shards.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { Mark, MarkName, MarkStore } from '../../src/core/ports.ts';
import { shardOfPlace } from '../../src/core/shards.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisCluster, startRedis, startRedisCluster } from '../support/servers/redis.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const at = (epoch: number, enqueued: string, committed = '', logId = 'log'): Mark => ({
  epoch,
  enqueued,
  committed,
  logId,
});
const stream: MarkName = { clusterId: 'A', groupId: 'g', topic: 't', partition: 0 };

/** What every store of marks must do. */
interface Opened {
  readonly marks: MarkStore;
  /** Puts a job into the queue beside the marks. */
  addJob(id: string): Promise<void>;
  close(): void;
}

function markStoreSuite(name: string, open: () => Promise<Opened>): void {
  describe(`a mark store: ${name}`, () => {
    let marks: MarkStore;
    let addJob: Opened['addJob'];
    let close: () => void;
    beforeEach(async () => {
      const opened = await open();
      marks = opened.marks;
      addJob = (id) => opened.addJob(id);
      close = () => opened.close();
    });
    afterEach(() => close());

    it('has nothing to settle where nothing was changed', async () => {
      await marks.settle(stream);
      await marks.move(stream, null, at(0, '9'));
      await marks.settle(stream);
      expect(await marks.read(stream)).toEqual(at(0, '9'));
    });

    it('knows nothing of a new stream', async () => {
      expect(await marks.read(stream)).toBeNull();
      expect(await marks.latest(stream)).toBeNull();
    });

    it('gives back what was written', async () => {
      const mark = at(3, '9007199254740993', '5', 'a/b=');
      expect(await marks.move(stream, null, mark)).toBe(true);
      expect(await marks.read(stream)).toEqual(mark);
    });

    it('moves only from what is there', async () => {
      await marks.move(stream, null, at(0, '9'));
      expect(await marks.move(stream, null, at(0, '1'))).toBe(false);
      expect(await marks.move(stream, at(0, '8'), at(0, '20'))).toBe(false);
      expect(await marks.move(stream, at(0, '9', '1'), at(0, '20'))).toBe(false);
      expect(await marks.move(stream, at(1, '9'), at(1, '20'))).toBe(false);
      expect(await marks.move(stream, at(0, '9', '', 'other'), at(0, '20'))).toBe(false);
      expect(await marks.read(stream)).toEqual(at(0, '9'));
      expect(await marks.move(stream, at(0, '9'), at(0, '20'))).toBe(true);
    });

    it('answers a repeated move as the first: its answer may have been lost', async () => {
      await marks.move(stream, null, at(0, '9'));
      expect(await marks.move(stream, at(0, '9'), at(0, '20'))).toBe(true);
      expect(await marks.move(stream, at(0, '9'), at(0, '20'))).toBe(true);
      expect(await marks.move(stream, at(0, '9'), at(0, '21'))).toBe(false);
    });

    it('moves behind jobs only when all of them are in the queue', async () => {
      const jobs = ['g.t.0.0.0-4', 'g.t.0.0.5-9'];
      expect(await marks.moveBehind(stream, null, at(0, '9'), jobs)).toBe('early');
      await addJob('g.t.0.0.0-4');
      expect(await marks.moveBehind(stream, null, at(0, '9'), jobs)).toBe('early');
      expect(await marks.read(stream)).toBeNull();
      await addJob('g.t.0.0.5-9');
      expect(await marks.moveBehind(stream, null, at(0, '9'), jobs)).toBe('moved');
      expect(await marks.moveBehind(stream, null, at(0, '9'), jobs)).toBe('moved');
      expect(await marks.read(stream)).toEqual(at(0, '9'));
      expect(await marks.moveBehind(stream, at(0, '8'), at(0, '20'), jobs)).toBe('elsewhere');
      expect(await marks.read(stream)).toEqual(at(0, '9'));
    });

    it('lets one of many win', async () => {
      await marks.move(stream, null, at(0, '0'));
      const moves = Array.from({ length: 20 }, (_, index) =>
        marks.move(stream, at(0, '0'), at(0, String(index + 1))),
      );
      expect((await Promise.all(moves)).filter(Boolean)).toHaveLength(1);
    });

    it('keeps streams apart, also when their names look alike', async () => {
      const names: MarkName[] = [
        stream,
        { ...stream, partition: 1 },
        { ...stream, topic: 't:0' },
        { ...stream, groupId: 'g:t' },
        { ...stream, groupId: 'g', topic: 't:t' },
        { ...stream, clusterId: 'B' },
      ];
      for (const [index, each] of names.entries())
        expect(await marks.move(each, null, at(0, String(index)))).toBe(true);
      const read = await Promise.all(names.map((each) => marks.read(each)));
      expect(read.map((mark) => mark?.enqueued)).toEqual(['0', '1', '2', '3', '4', '5']);
    });

    it('remembers the newest epoch of a group, topic and partition over all clusters', async () => {
      await marks.move(stream, null, at(4, '9'));
      expect(await marks.latest({ ...stream, clusterId: 'B' })).toEqual({ clusterId: 'A', epoch: 4 });
      await marks.move({ ...stream, clusterId: 'B' }, null, at(5, '1'));
      expect(await marks.latest(stream)).toEqual({ clusterId: 'B', epoch: 5 });
      expect(await marks.latest({ ...stream, partition: 1 })).toBeNull();
    });

    it('does not let a zombie of an earlier cluster take the newest epoch back', async () => {
      await marks.move(stream, null, at(4, '9'));
      await marks.move({ ...stream, clusterId: 'B' }, null, at(5, '1'));
      expect(await marks.move(stream, at(4, '9'), at(4, '10'))).toBe(true);
      expect(await marks.latest(stream)).toEqual({ clusterId: 'B', epoch: 5 });
    });
  });
}

markStoreSuite('in memory', () => {
  const jobs = new Set<string>();
  return Promise.resolve({
    marks: createMemoryMarks((id) => jobs.has(id)),
    addJob: (id) => Promise.resolve(void jobs.add(id)),
    close: () => undefined,
  });
});

const connect = async (url: string) => {
  const redis = connectRedis({
    url,
    name: 'marks',
    connectTimeoutMs: 2_000,
    commandTimeoutMs: 2_000,
    onError: () => undefined,
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
  return redis;
};

/** The queue of a process, where the stream's jobs go to. */
function openShards(redis: RedisClient, shards: number): Opened {
  const { config } = resolveConfig({ input: { queue: { prefix: uniqueName('marks'), shards } }, env: {} });
  const queue = openQueueShards({ config, redis, log: silentLog });
  const { prefix } = queue.at(shardOfPlace(stream, shards));
  const marks = queue.marks();
  return {
    marks,
    addJob: async (id) => void (await redis.hset(`${prefix}:changes:${id}`, 'name', id)),
    close() {
      marks.close();
      redis.disconnect();
    },
  };
}

describeWith(['redis'], 'on Redis', () => {
  markStoreSuite('Redis', async () => {
    const { url } = await sharedRedis();
    const redis = await connect(url);
    const prefix = `{${uniqueName('marks')}}`;
    const marks = createRedisMarks({ connection: redis, prefix, queue: 'changes', log: silentLog });
    return {
      marks,
      addJob: async (id) => void (await redis.hset(`${prefix}:changes:${id}`, 'name', id)),
      close() {
        marks.close();
        redis.disconnect();
      },
    };
  });

  for (const shards of [1, 3])
    markStoreSuite(`${shards} shard(s) of a queue on Redis`, async () => {
      const { url } = await sharedRedis();
      return openShards(await connect(url), shards);
    });

  describe('on a cluster', () => {
    let cluster: RedisCluster;
    beforeAll(async () => {
      cluster = await startRedisCluster(3);
    });
    afterAll(() => cluster.stop());
    for (const shards of [1, 3])
      markStoreSuite(`${shards} shard(s) of a queue on Redis Cluster`, async () =>
        openShards(await connect(cluster.url), shards),
      );
  });

  it('refuses a mark of a format it does not know', async () => {
    const { url } = await sharedRedis();
    const redis = await connect(url);
    const prefix = `{${uniqueName('marks')}}`;
    const marks = createRedisMarks({ connection: redis, prefix, queue: 'changes', log: silentLog });
    await redis.hset(`${prefix}:mark:g:t:0`, 'cluster:A', JSON.stringify({ format: 3, place: 'elsewhere' }));
    await expect(marks.read(stream)).rejects.toMatchObject({
      code: 'E_FORMAT_NEWER',
      details: { what: 'mark', format: 3 },
    });
    marks.close();
    redis.disconnect();
  });

  it('tells when Redis was away, and when it is another server', async () => {
    const server = await startRedis();
    const redis = await connect(server.url);
    const marks = createRedisMarks({
      connection: redis,
      prefix: '{marks}',
      queue: 'changes',
      returns: watchReturns({ connection: redis, slots: ['{marks}:marks'], watchMs: 50, log: silentLog }),
      log: silentLog,
    });
    const reasons: string[] = [];
    const stop = marks.onReturn((reason) => void reasons.push(reason));
    await server.restart();
    await waitFor(() => new Set(reasons).size === 2, { what: 'the reconnect and the new run id to be told' });
    expect(new Set(reasons)).toEqual(
      new Set(['Redis is connected again', 'Redis was started anew, or another server took over']),
    );
    stop();
    marks.close();
    redis.disconnect();
    await server.stop();
  });
});
