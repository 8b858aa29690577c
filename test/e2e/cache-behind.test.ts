import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import { aConfig, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, type SharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';

const KEYS = 40;
const stock = (id: number, version: number): string =>
  JSON.stringify({ serviceId: 'stockService', id, version });
const remove = (id: number, version: number): string =>
  JSON.stringify({ serviceId: 'stockService', id, op: 'delete', version });
const keyOf = (id: number): string => `stock_${id}`;

describeWith(['kafka', 'redis'], "a cache's Redis of its own that lost what was written to it", () => {
  let kafka: SharedKafka;
  let cache: RedisServer;
  let topic: string;
  let producer: Awaited<ReturnType<typeof produceTo>>;
  let running: RunningApp[];
  let redisUrl: string;
  const newest = new Map<number, string | null>();

  beforeEach(async () => {
    [kafka, cache, { url: redisUrl }] = await Promise.all([
      sharedKafka(),
      startRedis({ appendonly: true, policy: 'allkeys-lru', config: ['appendfsync always'] }),
      sharedRedis(),
    ]);
    topic = uniqueName('behind');
    await kafka.createTopic(topic, { partitions: 2 });
    producer = await produceTo(kafka.brokers);
    running = [];
    newest.clear();
  });
  afterEach(async () => {
    await Promise.all(running.map((app) => app.close()));
    await producer.close();
    await cache.stop();
  });

  const configOf = (more: ConfigInput = {}) =>
    aConfig(redisUrl, {
      kafka: { brokers: [...kafka.brokers], topics: [topic] },
      redis: { cache: { url: cache.url, ...more.redis?.cache } },
    });
  const start = async (config: ReturnType<typeof configOf>): Promise<RunningApp> => {
    const app = await startApp(config);
    running.push(app);
    return app;
  };
  const send = async (texts: readonly (readonly [id: number, text: string, isDelete: boolean])[]) => {
    for (const partition of [0, 1]) {
      const mine = texts.filter(([id]) => id % 2 === partition);
      await producer.send(
        topic,
        partition,
        mine.map(([, text]) => ({ value: Buffer.from(text) })),
      );
    }
    for (const [id, text, isDelete] of texts) newest.set(id, isDelete ? null : text);
  };
  const versions = (version: number) =>
    send(Array.from({ length: KEYS }, (_, id) => [id, stock(id, version), false] as const));
  const cached = async ({ app }: RunningApp) =>
    app.parts.connections.cache.mget(Array.from({ length: KEYS }, (_, id) => keyOf(id)));
  const wanted = () => Array.from({ length: KEYS }, (_, id) => newest.get(id) ?? null);
  const isNewest = async (app: RunningApp): Promise<boolean> =>
    JSON.stringify(await cached(app)) === JSON.stringify(wanted());
  const beatOf = (app: RunningApp): Promise<{ sequence: number }> =>
    waitFor(
      async () => {
        const text = await app.app.parts.connections.cache.get(`${app.app.parts.prefix}:tier-mark`);
        return text === null ? undefined : (JSON.parse(text) as { sequence: number });
      },
      { what: 'a beat', timeoutMs: 30_000 },
    );
  const nextBeat = async (app: RunningApp): Promise<void> => {
    const { sequence } = await beatOf(app);
    await waitFor(async () => (await beatOf(app)).sequence >= sequence + 2, {
      what: 'the next beat',
      timeoutMs: 30_000,
    });
  };
  /** Copies what the cache has on disk; the returned function puts it back. */
  const backUp = (): (() => Promise<void>) => {
    const copy = privateDir('aof');
    const live = join(cache.dir, 'appendonlydir');
    cpSync(live, copy, { recursive: true });
    return async () => {
      await cache.kill();
      rmSync(live, { recursive: true });
      cpSync(copy, live, { recursive: true });
      await cache.restart();
    };
  };
  const linesOf = ({ log }: RunningApp, words: string) =>
    log.lines.filter(({ message }) => message.includes(words));

  it('is found when it is restored from a backup, and gets back by itself what it lost, and only from there on', async () => {
    const config = configOf();
    const [app, other] = [await start(config), await start(config)];
    await versions(1);
    await app.finals(KEYS);
    await nextBeat(app);
    const restore = backUp();
    await versions(2);
    await send([
      [3, remove(3, 3), true],
      [4, remove(4, 3), true],
      [5, stock(5, 4), false],
    ]);
    const before = await app.finals(2 * KEYS + 3);
    await nextBeat(app);
    expect(await isNewest(app)).toBe(true);
    const facts: string[] = [];
    for (const each of [app, other]) each.app.on('cache', ({ what }) => facts.push(what));
    other.app.parts.localTier.evict(keyOf(0), null);
    await restore();
    await waitFor(() => facts.includes('repaired'), { what: 'the repair', timeoutMs: 60_000 });
    await waitFor(() => isNewest(app), { what: 'the cache to have the newest again', timeoutMs: 30_000 });
    // Told and counted once, by one of the two.
    expect(facts).toEqual(['behind', 'repaired']);
    expect([...linesOf(app, 'is behind'), ...linesOf(other, 'is behind')]).toHaveLength(1);
    for (const each of [app, other]) {
      await waitFor(() => linesOf(each, 'the local tier begins anew').length === 1, {
        what: 'its local tier to begin anew',
      });
    }
    // What was in the backup is not replayed.
    const rows = await app.finals(2 * KEYS + 3);
    const replayed = await waitFor(
      async () => {
        const found = (await app.rows()).filter(({ job }) => /\.r[0-9a-f]{12}$/.test(job));
        return found.length >= KEYS + 3 ? found : undefined;
      },
      { what: 'the replay to be on record', timeoutMs: 30_000 },
    );
    expect(replayed).toHaveLength(KEYS + 3);
    expect(rows.length).toBeGreaterThanOrEqual(before.length);
    // And newer messages go on as ever.
    await versions(9);
    await waitFor(() => isNewest(app), { what: 'later messages', timeoutMs: 30_000 });
  });

  it('is filled from the beginning when it was emptied, deletes and all', async () => {
    const app = await start(configOf());
    await versions(1);
    await send([[3, remove(3, 2), true]]);
    await app.finals(KEYS + 1);
    await nextBeat(app);
    await cache.ask('FLUSHALL');
    await waitFor(() => isNewest(app), { what: 'the cache to be filled again', timeoutMs: 60_000 });
    const fence = await app.app.parts.connections.cache.get(`fence:{${keyOf(3)}}`);
    expect(fence).toMatch(/^1\|t\|c\|2\|/);
  });

  it('is left alone, loudly, where it is told so', async () => {
    const app = await start(configOf({ redis: { cache: { onBehind: 'warn' } } }));
    await versions(1);
    await app.finals(KEYS);
    await nextBeat(app);
    await cache.ask('FLUSHALL');
    await waitFor(() => linesOf(app, 'nothing is done about it').length === 1, {
      what: 'the error',
      timeoutMs: 30_000,
    });
    await nextBeat(app);
    expect(await cached(app)).toEqual(Array.from({ length: KEYS }, () => null));
    expect(linesOf(app, 'nothing is done about it')).toHaveLength(1);
  });
});
