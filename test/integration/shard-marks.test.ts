/** Marks where the number of shards is changed: who reads them, who still has old ones, and what a rollback brings back. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisMarks } from '../../src/adapters/redis-mark.ts';
import { openQueueShards, type QueueShards } from '../../src/app/queue-shards.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { Mark, MarkName, MarkStore } from '../../src/core/ports.ts';
import { shardOfPlace, shardPrefix } from '../../src/core/shards.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const stream: MarkName = { clusterId: 'A', groupId: 'g', topic: 't', partition: 1 };
const NEW = shardOfPlace(stream, 3);
const at = (enqueued: string, epoch = 0): Mark => ({ epoch, enqueued, committed: '', logId: 'log' });

describeWith(['redis'], 'the mark of a partition whose shard is another now', () => {
  let redis: RedisClient;
  let prefix = '';
  const closing: (() => void)[] = [];
  /** A process with so many shards. */
  const withShards = (shards: number): { queue: QueueShards; marks: MarkStore } => {
    const { config } = resolveConfig({ input: { queue: { prefix, shards } }, env: {} });
    const queue = openQueueShards({ config, redis, log: silentLog });
    const marks = queue.marks();
    closing.push(() => marks.close());
    return { queue, marks };
  };
  const hashOf = (shard: number): Promise<Record<string, string>> =>
    redis.hgetall(`${shardPrefix(prefix, shard)}:mark:g:t:1`);

  beforeEach(async () => {
    const { url } = await sharedRedis();
    prefix = uniqueName('shards');
    redis = connectRedis({
      url,
      name: 'test',
      connectTimeoutMs: 5_000,
      commandTimeoutMs: 20_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  });
  afterEach(() => {
    for (const close of closing.splice(0)) close();
    redis.disconnect();
  });

  it('is where it was, byte for byte, and nothing is written down, as long as there is one shard', async () => {
    const { queue, marks } = withShards(1);
    await queue.register.look();
    await marks.settle(stream);
    await marks.move(stream, null, at('9'));
    const before = createRedisMarks({
      connection: redis,
      prefix: `{${prefix}}`,
      queue: 'changes',
      log: silentLog,
    });
    closing.push(() => before.close());
    expect(await before.read(stream)).toEqual(at('9'));
    expect(await hashOf(0)).toEqual({
      'cluster:A': '{"format":1,"epoch":0,"enqueued":"9","committed":"","logId":"log"}',
      epoch: '0',
      cluster: 'A',
    });
    expect(await redis.keys(`{${prefix}*`)).toEqual([`{${prefix}}:mark:g:t:1`]);
  });

  it('would be another by these names', () => {
    expect(NEW).not.toBe(0);
  });

  it('goes there once its jobs in the old one are done, and no sooner', async () => {
    await withShards(1).marks.move(stream, null, at('9'));
    const three = withShards(3).marks;
    await redis.lpush(`{${prefix}}:changes:wait`, 'g.t.1.0.5-9', 'g.t.11.0.5-9', 'g.t.0.0.5-9');
    await expect(three.settle(stream)).rejects.toMatchObject({
      code: 'E_SHARD_DRAINING',
      details: { stream: 't-1', from: 0, to: NEW },
    });
    await redis.lrem(`{${prefix}}:changes:wait`, 1, 'g.t.1.0.5-9');
    await redis.zadd(`{${prefix}}:changes:delayed`, 1, 'g.t.1.0.0-4');
    await expect(three.settle(stream)).rejects.toMatchObject({ code: 'E_SHARD_DRAINING' });
    await redis.del(`{${prefix}}:changes:delayed`);
    expect(await hashOf(NEW)).toEqual({});

    await three.settle(stream);
    expect(await three.read(stream)).toEqual(at('9'));
    expect(await three.move(stream, at('9'), at('20'))).toBe(true);
    expect(await three.read(stream)).toEqual(at('20'));
  });

  it('comes back when the number is set back, and goes again', async () => {
    const [one, three] = [withShards(1).marks, withShards(3).marks];
    await one.move(stream, null, at('1'));
    for (let round = 1; round < 4; round += 1) {
      await three.settle(stream);
      expect(await three.move(stream, at(`${2 * round - 1}`), at(`${2 * round}`))).toBe(true);
      await one.settle(stream);
      expect(await one.move(stream, at(`${2 * round}`), at(`${2 * round + 1}`))).toBe(true);
      expect(await three.read(stream)).toEqual(at(`${2 * round + 1}`));
    }
  });

  it('is found by a process that was started before the others had more shards', async () => {
    const one = withShards(1).marks;
    const three = withShards(3);
    await three.queue.register.ready();
    await three.marks.move(stream, null, at('9', 4));
    await one.settle(stream);
    expect(await one.read(stream)).toEqual(at('9', 4));
    expect(await one.latest(stream)).toEqual({ clusterId: 'A', epoch: 4 });
    expect(await one.move(stream, at('9', 4), at('10', 4))).toBe(true);
  });

  it('is not moved by a zombie that has another number, whatever it still holds', async () => {
    const zombie = withShards(1).marks;
    await zombie.settle(stream);
    await zombie.move(stream, null, at('9'));
    const owner = withShards(3).marks;
    await owner.settle(stream);
    await redis.hset(`{${prefix}}:changes:g.t.1.0.10-19`, 'name', 'of the zombie');
    expect(await zombie.moveBehind(stream, at('9'), at('19'), ['g.t.1.0.10-19'])).toBe('elsewhere');
    expect(await zombie.move(stream, at('9'), at('19'))).toBe(false);
    expect(await zombie.move(stream, null, at('19'))).toBe(false);
    expect(await owner.read(stream)).toEqual(at('9'));
    // Nor does it leave while the zombie's jobs are open where it would go.
    await redis.lpush(`${shardPrefix(prefix, NEW)}:changes:active`, 'g.t.1.0.10-12');
    await expect(zombie.settle(stream)).rejects.toMatchObject({ code: 'E_SHARD_DRAINING' });
    expect(await owner.move(stream, at('9'), at('12'))).toBe(true);
  });

  it('is taken in by whoever comes next when a process dies between leaving and coming', async () => {
    await withShards(1).marks.move(stream, null, at('9', 3));
    const old = createRedisMarks({
      connection: redis,
      prefix: `{${prefix}}`,
      queue: 'changes',
      log: silentLog,
    });
    closing.push(() => old.close());
    const seen = await old.look(stream);
    if (seen === null) throw new Error('there is no mark');
    await withShards(3).queue.register.ready();
    await old.leave(stream, seen, NEW);
    expect(await hashOf(NEW)).toEqual({});
    // Also by one of the old number: it takes it in there, and brings it back.
    const one = withShards(1).marks;
    await one.settle(stream);
    expect(await one.read(stream)).toEqual(at('9', 3));
    expect(await one.move(stream, at('9', 3), at('10', 3))).toBe(true);
    const three = withShards(3).marks;
    await three.settle(stream);
    expect(await three.read(stream)).toEqual(at('10', 3));
  });

  it('is read again from where it left when the server of its new shard forgets that it came', async () => {
    await withShards(1).marks.move(stream, null, at('9'));
    const three = withShards(3).marks;
    await three.settle(stream);
    await three.move(stream, at('9'), at('20'));
    await redis.del(`${shardPrefix(prefix, NEW)}:mark:g:t:1`);
    expect(await three.move(stream, at('20'), at('30'))).toBe(false);
    await three.settle(stream);
    expect(await three.read(stream)).toEqual(at('9'));
  });

  it('stays in its new shard when the server of the old one forgets that it left', async () => {
    await withShards(1).marks.move(stream, null, at('9'));
    const before = await hashOf(0);
    const three = withShards(3).marks;
    await three.settle(stream);
    await three.move(stream, at('9'), at('20'));
    await redis.del(`{${prefix}}:mark:g:t:1`);
    await redis.hset(`{${prefix}}:mark:g:t:1`, before);
    await three.settle(stream);
    expect(await three.read(stream)).toEqual(at('20'));
  });

  it('the number of shards never falls, and is written down again by those that know it', async () => {
    const three = withShards(3).queue.register;
    await three.ready();
    const one = withShards(1).queue.register;
    expect([one.count(), await one.look(), one.count()]).toEqual([1, 3, 3]);
    await redis.del(`{${prefix}}:shards`);
    expect(await withShards(1).queue.register.look()).toBe(1);
    await one.look();
    expect(await withShards(1).queue.register.look()).toBe(3);
  });
});
