/** The whole service on a Redis Cluster of three masters, which is queue and cache in one, with a queue of three shards. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { shardOfPlace, shardPrefix } from '../../src/core/shards.ts';
import {
  aConfig,
  FINAL,
  inlineServices,
  type RunningApp,
  startApp,
  type TestConfig,
} from '../support/app.ts';
import { runCli } from '../support/cli.ts';
import { aShop, finalsOf, lettersLie, shopServices } from '../support/dead-letters.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { type RedisCluster, startRedisCluster } from '../support/servers/redis.ts';
import { type SharedKafka, sharedKafka, uniqueName } from '../support/servers/shared.ts';

const PARTITIONS = 6;
const SHARDS = 3;
const KEYS = 200;
const MESSAGES = 3_000;

describeWith(['redis', 'kafka'], 'on a Redis Cluster of three masters', () => {
  let kafka: SharedKafka;
  let cluster: RedisCluster;
  let redis: RedisClient;
  let config: TestConfig;
  let first: RunningApp;
  let second: RunningApp;
  const topic = uniqueName('cluster');
  const keys = uniqueName('k');
  const shop = aShop();

  beforeAll(async () => {
    [kafka, cluster] = await Promise.all([sharedKafka(), startRedisCluster(3, { appendonly: true })]);
    await kafka.createTopic(topic, { partitions: PARTITIONS });
    redis = connectRedis({
      url: cluster.url,
      name: 'test',
      connectTimeoutMs: 5_000,
      commandTimeoutMs: 20_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis Cluster', timeoutMs: 20_000 });
    config = aConfig(cluster.url, {
      kafka: { brokers: [...kafka.brokers], topics: [topic] },
      log: { messages: 'none' },
      services: { ...inlineServices, ...shopServices(shop, keys) },
    });
    config = { ...config, queue: { prefix: await spreadPrefix(cluster), shards: SHARDS } };
    first = await startApp(config);
    second = await startApp(config);
  });
  afterAll(async () => {
    await Promise.all([first?.close(), second?.close()]);
    redis?.disconnect();
    await cluster?.stop();
  });

  const send = async (partition: number, bodies: readonly (object | string)[]): Promise<void> => {
    const producer = await produceTo(kafka.brokers);
    await producer.send(
      topic,
      partition,
      bodies.map((body) => ({ value: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) })),
    );
    await producer.close();
  };
  const stock = (id: number, version: number) => ({
    serviceId: 'stockService',
    id: `${keys}-${id}`,
    version,
  });
  const partitionOf = (shard: number): number =>
    [...Array(PARTITIONS).keys()].find((partition) => shardOfPlace({ topic, partition }, SHARDS) === shard) ??
    0;

  it('brings messages through all shards, on all masters, into the tiers: none is lost, no key is stale, each has its trail', async () => {
    const versions = new Map<number, number>();
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      // Of one key in all partitions, the late ones after the new ones.
      const bodies = Array.from({ length: MESSAGES / PARTITIONS }, (_, index) => {
        const [id, version] = [index % KEYS, ((index * 7 + partition * 13) % 100) + 1];
        versions.set(id, Math.max(version, versions.get(id) ?? 0));
        return stock(id, version);
      });
      await send(partition, bodies);
    }
    const rows = await first.finals(MESSAGES);
    expect(new Set(rows.map(({ message }) => message)).size).toBe(MESSAGES);
    expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['redisCached', 'superseded']));
    for (const [id, version] of versions) {
      const text = await redis.get(`stock_${keys}-${id}`);
      expect(JSON.parse(text ?? '{}'), `key ${id}`).toEqual(stock(id, version));
    }
    const busy = await Promise.all(
      [...Array(SHARDS).keys()].map(async (shard) => {
        const prefix = shardPrefix(config.queue.prefix, shard);
        const owner = await cluster.ownerOf(`${prefix}:changes`);
        return { jobs: await redis.zcard(`${prefix}:changes:completed`), port: owner.port };
      }),
    );
    expect(new Set(busy.map(({ port }) => port)).size).toBe(3);
    for (const { jobs } of busy) expect(jobs).toBeGreaterThan(0);
    const [row] = rows.filter(({ recordId }) => recordId === `${keys}-7`);
    const trail = await (await fetch(`${second.url}/v1/trail?message=${row?.message}`)).json();
    expect(JSON.stringify(trail)).toContain(`${keys}-7`);
  });

  it('tells another instance of a change, whichever master has the key', async () => {
    for (let id = 0; id < 12; id += 1) {
      const key = `stock_${keys}-${id}`;
      await waitFor(
        async () => {
          await fetch(`${second.url}/v1/records/stockService/${keys}-${id}`);
          return (await second.app.parts.localTier.get(key)) !== undefined;
        },
        { what: `the second instance to hold ${key}`, timeoutMs: 30_000 },
      );
    }
    await send(
      0,
      Array.from({ length: 12 }, (_, id) => stock(id, 1_000)),
    );
    for (let id = 0; id < 12; id += 1) {
      const key = `stock_${keys}-${id}`;
      await waitFor(
        async () => (await second.app.parts.localTier.get(key))?.text === JSON.stringify(stock(id, 1_000)),
        { what: `the second instance to hold the new ${key}`, timeoutMs: 30_000 },
      );
    }
  });

  it('buries what dies in the third shard, shows it, and brings it home by a redrive', async () => {
    shop.down(true);
    await send(partitionOf(2), [{ serviceId: 'shopInfoService', id: 's1' }]);
    await send(partitionOf(1), [{ serviceId: 'shopInfoService', id: 's2' }]);
    const office = second.app.parts.deadLetters;
    await lettersLie(office, 2);
    expect(await redis.llen(`${shardPrefix(config.queue.prefix, 2)}:dead-letters:wait`)).toBe(1);
    shop.down(false);
    const report = await office.redrive(
      {},
      { by: 'ann', reason: 'mended', force: false, perSecond: 0, limit: 10 },
    );
    expect(report).toMatchObject({ selected: 2, redriven: 2 });
    await lettersLie(office, 0);
    const finals = await finalsOf(first, 1, 2);
    expect(new Set([...finals.values()].map(({ state }) => state))).toEqual(new Set(['redisCached']));
    expect(JSON.parse((await redis.get(`${keys}:shop:s1`)) ?? '{}')).toMatchObject({ id: 's1' });
  });

  it('takes posted changes and commands, and shows every shard on the board and in the doctor’s report', async () => {
    const post = await fetch(`${first.url}/v1/changes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': uniqueName('i') },
      body: JSON.stringify(stock(5_000, 1)),
    });
    expect(post.status).toBe(202);
    await waitFor(async () => (await redis.get(`stock_${keys}-5000`)) !== null, {
      what: 'the posted record',
      timeoutMs: 30_000,
    });
    const board = (await (await fetch(`${first.url}/queues/api/queues`)).json()) as {
      queues: { name: string }[];
    };
    expect(board.queues.map(({ name }) => name)).toEqual([
      'changes',
      'shard-1-changes',
      'shard-2-changes',
      'dead-letters',
      'shard-1-dead-letters',
      'shard-2-dead-letters',
    ]);
    expect((await fetch(`${first.url}/readyz`)).status).toBe(200);

    const dir = privateDir('cli');
    const { shopInfoService: _, ...services } = config.services ?? {};
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify({ ...config, services }));
    const lines = Array.from({ length: 20 }, (__, index) => JSON.stringify(stock(6_000 + index, 1)));
    const ingested = await runCli(['ingest', '-'], { cwd: dir, input: lines.join('\n') });
    expect(ingested).toMatchObject({ code: 0 });
    await waitFor(async () => (await redis.get(`stock_${keys}-6019`)) !== null, {
      what: 'the ingested record',
      timeoutMs: 30_000,
    });
    const doctor = await runCli(['doctor', '--json'], { cwd: dir });
    const { findings } = JSON.parse(doctor.stdout) as { findings: { check: string; text: string }[] };
    const shards = findings.find(({ check }) => check === 'queue')?.text ?? '';
    expect(shards).toMatch(/^3 shard\(s\); 0: 0 job\(s\) on 127/);
    expect(new Set(shards.match(/127\.0\.0\.1:\d+/g)).size).toBe(3);
    expect(findings.filter(({ text }) => /^master at .*: version/.test(text))).toHaveLength(3);
  });

  it('goes on by itself when a master is killed and comes back: nothing is lost', async () => {
    const victim = await cluster.ownerOf(shardPrefix(config.queue.prefix, 1));
    await victim.kill();
    await Promise.all(
      [...Array(PARTITIONS).keys()].map((partition) =>
        send(
          partition,
          Array.from({ length: 50 }, (_, index) => stock(10_000 + partition * 50 + index, 1)),
        ),
      ),
    );
    await waitFor(() => [first, second].some(({ log }) => log.lines.some(isPause)), {
      what: 'ingest to pause',
      timeoutMs: 30_000,
    });
    await victim.restart();
    await waitFor(
      async () => {
        const texts = await Promise.all(
          Array.from({ length: 300 }, (_, index) => redis.get(`stock_${keys}-${10_000 + index}`)),
        );
        return texts.every((text) => text !== null);
      },
      { what: 'every record to be in Redis', timeoutMs: 90_000 },
    );
    await waitFor(
      async () => {
        const ended = (await first.rows()).filter(
          ({ recordId, state }) => FINAL.has(state) && Number(recordId.split('-').at(-1)) >= 10_000,
        );
        return new Set(ended.map(({ message }) => message)).size === 300;
      },
      { what: 'every message to be on record as final', timeoutMs: 90_000, everyMs: 100 },
    );
  });
});

function isPause({ message }: { readonly message: string }): boolean {
  return message === 'partition paused';
}

/** A prefix whose shards lie on three masters. */
async function spreadPrefix(cluster: RedisCluster): Promise<string> {
  for (;;) {
    const prefix = uniqueName('app');
    const owners = await Promise.all(
      [...Array(SHARDS).keys()].map((shard) => cluster.ownerOf(shardPrefix(prefix, shard))),
    );
    if (new Set(owners).size === SHARDS) return prefix;
  }
}
