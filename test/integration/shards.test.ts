/** A queue of several shards on one Redis: what each worker serves, and what happens when their number is changed. */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import { shardOfPlace, shardPrefix } from '../../src/core/shards.ts';
import { aConfig, FINAL, inlineServices, type RunningApp, startApp } from '../support/app.ts';
import { aShop, finalsOf, lettersLie, shopServices } from '../support/dead-letters.ts';
import { type Ingest, startIngest } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { waitFor } from '../support/servers/process.ts';
import { type SharedKafka, sharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';

const PARTITIONS = 6;
const author = { by: 'ann', reason: 'the source is mended' };
const atOnce = { ...author, force: false, perSecond: 0, limit: 1_000_000 };

describeWith(['redis', 'kafka'], 'a queue of several shards', () => {
  let kafka: SharedKafka;
  let redis: Redis;
  let redisUrl = '';
  let topic = '';
  let prefix = '';
  let groupId = '';
  let auditUrl = '';
  let keys = '';
  let sent = 0;
  let shop: ReturnType<typeof aShop>;
  const closing: (() => Promise<unknown>)[] = [];

  beforeEach(async () => {
    [kafka, { url: redisUrl }] = await Promise.all([sharedKafka(), sharedRedis()]);
    redis = new Redis(redisUrl);
    closing.push(async () => redis.disconnect());
    [topic, groupId, keys] = [uniqueName('shards'), uniqueName('group'), uniqueName('k')];
    await kafka.createTopic(topic, { partitions: PARTITIONS });
    ({
      queue: { prefix },
      audit: { url: auditUrl },
    } = aConfig(redisUrl));
    sent = 0;
    shop = aShop();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** All on one queue and one audit file, as the processes of a fleet are. */
  const start = async (shards: number, roles: ConfigInput['roles']): Promise<RunningApp> => {
    const services = { ...inlineServices, ...shopServices(shop, keys) };
    const config = aConfig(redisUrl, {
      kafka: { brokers: [...kafka.brokers], topics: [topic], groupId },
      log: { messages: 'none' },
      services,
      roles,
    });
    const running = await startApp({ ...config, queue: { prefix, shards }, audit: { url: auditUrl } });
    closing.push(() => running.close());
    return running;
  };
  const ingest = async (shards: number): Promise<Ingest> => {
    const started = await startIngest({
      redisUrl,
      prefix: `{${prefix}}`,
      shards,
      kafka: { brokers: kafka.brokers, groupId, topics: [topic] },
    });
    closing.push(() => started.stop());
    return started;
  };
  /** So many messages to each partition. */
  const send = async (each: number, body: (n: number) => object = stock): Promise<void> => {
    const producer = await produceTo(kafka.brokers);
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      const records = Array.from({ length: each }, () => ({
        value: Buffer.from(JSON.stringify(body((sent += 1)))),
      }));
      await producer.send(topic, partition, records);
    }
    await producer.close();
  };
  const stock = (n: number): object => ({ serviceId: 'stockService', id: `${keys}-${n}`, version: n });
  const shopOf = (n: number): object => ({ serviceId: 'shopInfoService', id: String(n) });
  const enqueued = (from: Ingest): number =>
    from.events.reduce((sum, event) => sum + (event.kind === 'enqueued' ? event.messages : 0), 0);
  const untilEnqueued = (from: Ingest, messages: number): Promise<true> =>
    waitFor(() => enqueued(from) >= messages, { what: `${messages} to be enqueued`, timeoutMs: 60_000 });
  /** Jobs of each of the shards, by state. */
  const jobsIn = (running: RunningApp, state: 'wait' | 'completed'): Promise<number[]> => {
    const { connections } = running.app.parts;
    return Promise.all(
      [0, 1, 2].map((shard) => {
        const key = `${shardPrefix(prefix, shard)}:changes:${state}`;
        return state === 'wait' ? connections.queue.llen(key) : connections.queue.zcard(key);
      }),
    );
  };
  /** All that a server has of a shard, and a server that has gone back to that. */
  const dump = async (shard: number): Promise<Map<string, Buffer>> => {
    const found = new Map<string, Buffer>();
    for (const key of await redis.keys(`${shardPrefix(prefix, shard)}:*`)) {
      const value = await redis.dumpBuffer(key);
      if (value !== null) found.set(key, value);
    }
    return found;
  };
  const restore = async (shard: number, backup: ReadonlyMap<string, Buffer>): Promise<void> => {
    await redis.del(await redis.keys(`${shardPrefix(prefix, shard)}:*`));
    for (const [key, value] of backup) await redis.restore(key, 0, value);
  };

  it('spreads partitions over its shards, each worker serves all, and every message is on record', async () => {
    const running = await start(3, ['ingest', 'worker']);
    await send(50);
    const rows = await running.finals(50 * PARTITIONS);
    expect(rows).toHaveLength(50 * PARTITIONS);
    expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['redisCached']));
    for (const jobs of await jobsIn(running, 'completed')) expect(jobs).toBeGreaterThan(0);
    expect(await running.openJobs()).toBe(0);
  });

  it('takes what died in any shard to the dead letters of all, and redrives it, also after their number was changed', async () => {
    shop.down(true);
    const three = await start(3, ['ingest', 'worker']);
    await send(2, shopOf);
    const total = 2 * PARTITIONS;
    await lettersLie(three.app.parts.deadLetters, total);
    const lying = await Promise.all(
      [0, 1, 2].map((shard) =>
        three.app.parts.connections.queue.llen(`${shardPrefix(prefix, shard)}:dead-letters:wait`),
      ),
    );
    expect(lying.reduce((sum, count) => sum + count, 0)).toBe(total);
    for (const count of lying) expect(count).toBeGreaterThan(0);
    await closing.pop()?.();

    shop.down(false);
    const one = await start(1, ['worker']);
    const office = one.app.parts.deadLetters;
    expect(await office.redrive({}, atOnce)).toMatchObject({ selected: total, redriven: total, gone: 0 });
    await lettersLie(office, 0);
    const finals = await finalsOf(one, 1, total);
    expect(new Set([...finals.values()].map(({ state }) => state))).toEqual(new Set(['redisCached']));
  });

  it('loses nothing and empties itself when their number is raised and lowered again with jobs waiting', async () => {
    // One shard, no worker: everything waits in the first.
    const before = await ingest(1);
    await send(20);
    await untilEnqueued(before, 20 * PARTITIONS);
    await closing.pop()?.();

    // Three shards: what leaves the first pauses, and says why.
    const raised = await ingest(3);
    await send(20);
    const stays = [...Array(PARTITIONS).keys()].filter(
      (partition) => shardOfPlace({ topic, partition }, 3) === 0,
    );
    await untilEnqueued(raised, 20 * stays.length);
    await waitFor(() => pausedFor(raised) >= PARTITIONS - stays.length, {
      what: 'the other partitions to pause',
      timeoutMs: 60_000,
    });
    expect(enqueued(raised)).toBe(20 * stays.length);
    let worker = await start(3, ['worker']);
    await untilEnqueued(raised, 20 * PARTITIONS);
    await worker.finals(40 * PARTITIONS);
    await closing.pop()?.();

    // Jobs wait in all three.
    await send(20);
    await untilEnqueued(raised, 40 * PARTITIONS);
    await closing.pop()?.();

    // One shard again, and no worker that knows of more: they are found and worked off all the same.
    const lowered = await ingest(1);
    await send(20);
    await waitFor(() => pausedFor(lowered) >= 1, { what: 'partitions to pause', timeoutMs: 60_000 });
    worker = await start(1, ['worker']);
    expect((await jobsIn(worker, 'wait')).slice(1).some((jobs) => jobs > 0)).toBe(true);
    await untilEnqueued(lowered, 20 * PARTITIONS);
    const rows = await worker.finals(80 * PARTITIONS);
    expect(rows.filter(({ state }) => FINAL.has(state))).toHaveLength(80 * PARTITIONS);
    expect(await worker.app.parts.queue.depth()).toEqual({ jobs: 0, bytes: 0 });
    expect(lowered.decisions()).toEqual([]);
  });

  it('reads again what a server forgot that had one of them: its marks go with its jobs, the others stay', async () => {
    const before = await ingest(3);
    await send(10);
    await untilEnqueued(before, 10 * PARTITIONS);
    const backup = await dump(1);
    await send(10);
    await untilEnqueued(before, 20 * PARTITIONS);
    await before.handOff.flush();
    await closing.pop()?.();
    await restore(1, backup);

    const after = await ingest(3);
    const lost = [...Array(PARTITIONS).keys()].filter(
      (partition) => shardOfPlace({ topic, partition }, 3) === 1,
    );
    await untilEnqueued(after, 10 * lost.length);
    const running = await start(3, ['worker']);
    const rows = await running.finals(20 * PARTITIONS);
    expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['redisCached']));
    expect(after.decisions()).toEqual(lost.map(() => 'rolledBack'));
    expect(enqueued(after)).toBe(10 * lost.length);
  });

  it('may be shared by processes of both numbers while partitions go to and fro between them', async () => {
    const one = await start(1, ['ingest', 'worker']);
    await send(100);
    const three = await start(3, ['ingest', 'worker']);
    await send(100);
    await waitFor(async () => (await one.rows()).length >= 100 * PARTITIONS, {
      what: 'some rows',
      timeoutMs: 60_000,
    });
    await send(100);
    await closing.splice(1, 1)[0]?.();
    await send(100);
    const rows = await three.finals(400 * PARTITIONS);
    expect(new Set(rows.map(({ message }) => message)).size).toBe(400 * PARTITIONS);
    expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['redisCached']));
  });
});

/** How many partitions wait for jobs in another shard. */
function pausedFor(from: Ingest): number {
  return new Set(
    from.events.flatMap((event) =>
      event.kind === 'waiting' && event.reason.includes('unfinished in shard') ? [event.partition] : [],
    ),
  ).size;
}
