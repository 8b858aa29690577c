import { Queue } from 'bullmq';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDeadLetterBox } from '../../src/adapters/bullmq-dead-letter-box.ts';
import {
  createDeadLetterMover,
  DEAD_LETTER_QUEUE,
  type DeadLetterMover,
} from '../../src/adapters/bullmq-dead-letters.ts';
import { queueKeys } from '../../src/adapters/bullmq-keys.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { letterId } from '../../src/core/dead-letter.ts';
import { aLetter } from '../support/dead-letter.ts';
import { clock, rememberingLog } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['redis'], 'the mover of dead letters', () => {
  let redis: RedisClient;
  let prefix = '';
  const movers: DeadLetterMover[] = [];
  const chunks = () => queueKeys(prefix, 'changes');
  const log = rememberingLog();

  const aMover = (over: RedisClient = redis): DeadLetterMover => {
    const mover = createDeadLetterMover({
      redis: over,
      connection: redis,
      prefix,
      outbox: chunks().deadOutbox,
      kafka: { outbox: chunks().deadKafkaOutbox, isFor: () => true },
      clock,
      log,
    });
    movers.push(mover);
    return mover;
  };
  const box = () => createDeadLetterBox({ redis, prefix, chunks: chunks(), clock, log });
  const put = async (...contents: readonly object[]): Promise<void> => {
    for (const content of contents) await redis.xadd(chunks().deadOutbox, '*', 'e', JSON.stringify(content));
  };
  /** The same connection, of which one command goes another way. */
  const redisWith = (name: 'xrange' | 'multi', way: (...args: never[]) => unknown): RedisClient =>
    new Proxy(redis, {
      get: (target, property) => {
        if (property === name) return way;
        const value: unknown = Reflect.get(target, property);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });

  beforeEach(async () => {
    const { url } = await sharedRedis();
    prefix = `{${uniqueName('mover')}}`;
    redis = connectRedis({
      url,
      name: 'test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 5_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
  });
  afterEach(async () => {
    await Promise.all(movers.splice(0).map((mover) => mover.close()));
    redis.disconnect();
  });

  it('moves 10,000 letters, each once, and takes the settled ones away', async () => {
    const letters = Array.from({ length: 10_000 }, (_, index) => aLetter(index));
    const adding = redis.pipeline();
    for (const letter of letters) adding.xadd(chunks().deadOutbox, '*', 'e', JSON.stringify(letter));
    await adding.exec();
    await put({ format: 1, settled: letters.slice(0, 9_990).map(letterId) });
    aMover().start();
    await waitFor(async () => (await redis.xlen(chunks().deadOutbox)) === 0, {
      what: 'the outbox to be empty',
      timeoutMs: 60_000,
    });
    expect(await box().ids()).toEqual(letters.slice(9_990).map(letterId));
    expect(await redis.xlen(chunks().deadKafkaOutbox)).toBe(10_000);
    const queue = new Queue(DEAD_LETTER_QUEUE, { connection: redis, prefix });
    expect((await queue.getWaiting(0, 0))[0]?.name).toMatch(
      /^shopInfoService E_FETCH_FAILED changes-0@999\d$/,
    );
    await queue.close();
  });

  it('killed between the queue and the outbox moves again, and each letter lies there once', async () => {
    await put(aLetter(1), aLetter(2));
    const dying = aMover(
      redisWith('multi', () => {
        throw new Error('killed');
      }),
    );
    await expect(dying.flush()).rejects.toThrow('killed');
    expect(await redis.xlen(chunks().deadOutbox)).toBe(2);
    expect(await aMover().flush()).toBe(2);
    expect(await box().ids()).toEqual(['changes-0@1.0.0', 'changes-0@2.0.0']);
    expect(await redis.xlen(chunks().deadKafkaOutbox)).toBe(2);
    expect(await redis.xlen(chunks().deadOutbox)).toBe(0);
  });

  it('stopped with a letter in hand does not bring it back after it was settled or discarded', async () => {
    await put(aLetter(1), aLetter(2));
    const hold = Promise.withResolvers<void>();
    const slow = aMover(
      redisWith('xrange', async (...args: never[]) => {
        const entries = await redis.xrange(...(args as unknown as Parameters<RedisClient['xrange']>));
        await hold.promise;
        return entries;
      }),
    );
    const late = slow.flush();
    const quick = aMover();
    await quick.flush();
    await put({ format: 1, settled: ['changes-0@1.0.0'] });
    await quick.flush();
    await box().remove(['changes-0@2.0.0']);
    expect(await box().ids()).toEqual([]);
    hold.resolve();
    await late;
    expect(await box().ids()).toEqual([]);
  });

  it('leaves what a newer version wrote where it is, and moves what stands behind it', async () => {
    await put(aLetter(1, { format: 99 }), aLetter(2));
    const mover = aMover();
    expect(await mover.flush()).toBe(1);
    expect(await mover.flush()).toBe(0);
    expect(await box().ids()).toEqual(['changes-0@2.0.0']);
    expect(await redis.xlen(chunks().deadOutbox)).toBe(1);
  });

  it('of several moves in one process at a time, and another takes over', async () => {
    const [one, two] = [aMover(), aMover()];
    one.start();
    await put(aLetter(1));
    await waitFor(async () => (await box().ids()).length === 1, { what: 'the letter', timeoutMs: 20_000 });
    const holder = await redis.get(`${prefix}:dead-mover`);
    two.start();
    await put(aLetter(2));
    await waitFor(async () => (await box().ids()).length === 2, { what: 'the letter', timeoutMs: 20_000 });
    expect(await redis.get(`${prefix}:dead-mover`)).toBe(holder);
    await one.close();
    await put(aLetter(3));
    await waitFor(async () => (await box().ids()).length === 3, { what: 'the letter', timeoutMs: 30_000 });
  });

  it('marks letters that are there, and does not make one of its mark', async () => {
    await put(aLetter(1));
    await aMover().flush();
    await box().mark(['changes-0@1.0.0', 'changes-0@9.0.0'], { job: 'j', by: 'ann', atMs: 5 });
    expect((await box().read(['changes-0@1.0.0', 'changes-0@9.0.0'])).map((one) => one?.redriving)).toEqual([
      { job: 'j', by: 'ann', atMs: 5 },
      undefined,
    ]);
  });
});
