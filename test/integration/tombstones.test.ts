import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { Operation } from '../../src/core/change.ts';
import type { TierResult } from '../../src/core/ports.ts';
import type { Service } from '../../src/core/service.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import { aConfig, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { aMessage, type Pipeline, startPipeline } from '../support/pipeline.ts';
import { produceTo } from '../support/produce.ts';
import { waitFor } from '../support/servers/process.ts';
import { startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';
import { aService } from '../support/service.ts';

const MINUTE_MS = 60_000;

/** What a test started, ended in reverse. */
const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let end = open.pop(); end !== undefined; end = open.pop()) await end();
});

async function clientOf(url: string): Promise<RedisClient> {
  const options = { url, name: 'test', connectTimeoutMs: 2_000, commandTimeoutMs: 5_000 };
  const client = connectRedis({ ...options, onError: () => undefined });
  open.push(async () => client.disconnect());
  await waitForRedis(client, { what: 'Redis', timeoutMs: 5_000 });
  return client;
}

describeWith(['kafka', 'redis'], 'a deleted record', () => {
  it('stays deleted through late updates, a restart of everything, and the whole topic read again', async () => {
    const [kafka, redis, topic] = [
      await sharedKafka(),
      await startRedis({ appendonly: true }),
      uniqueName('gone'),
    ];
    open.push(() => redis.stop());
    await kafka.createTopic(topic);
    const producer = await produceTo(kafka.brokers);
    open.push(() => producer.close());
    const at = await clientOf(redis.url);

    /** The source of the fetched records: what is not in it is absent. */
    const shops = new Map([['3', { id: 3, version: 5 }]]);
    const services: ConfigInput['services'] = {
      stockService: {
        source: { type: 'inline' },
        key: 'stock_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
      shopInfoService: {
        source: { type: 'function', fetch: async (id: string) => shops.get(id) ?? null },
        key: 'shop_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
    };
    const config = aConfig(redis.url, { services, kafka: { brokers: [...kafka.brokers], topics: [topic] } });
    const KEYS = ['stock_1', 'stock_2', 'shop_3'];
    let running: RunningApp | undefined;
    let sent = 0;
    const start = async (): Promise<RunningApp> => {
      const started = await startApp(config);
      open.push(() => started.close());
      running = started;
      return started;
    };
    const send = async (...bodies: object[]): Promise<void> => {
      await producer.send(
        topic,
        0,
        bodies.map((body) => ({ value: Buffer.from(JSON.stringify(body)) })),
      );
      sent += bodies.length;
    };
    const stock = (id: number, version?: number, op: Operation = 'upsert') => ({
      serviceId: 'stockService',
      id,
      op,
      ...(version !== undefined && { version }),
    });
    const shop = { serviceId: 'shopInfoService', id: 3 };
    const finals = async (epoch: number, count: number): Promise<AuditRecord[]> =>
      waitFor(
        async () => {
          const rows = (await running?.rows())?.filter((row) => row.epoch === epoch && row.dueMs === 0);
          return rows !== undefined && rows.length >= count ? rows : undefined;
        },
        { what: `${count} messages of epoch ${epoch} to end`, timeoutMs: MINUTE_MS, everyMs: 100 },
      );

    const first = await start();
    await send(stock(1, 5), stock(2, 5), shop);
    await finals(0, sent);
    expect((await at.mget(KEYS)).every((text) => text !== null)).toBe(true);
    shops.delete('3');
    await send(stock(1, 7, 'delete'), stock(2, undefined, 'delete'), shop);
    await finals(0, sent);
    expect(await at.mget(KEYS)).toEqual([null, null, null]);

    await first.close();
    await redis.restart();
    const second = await start();
    // Older, as old as what was deleted, as old as the delete itself: all too late.
    await send(stock(1, 6), stock(2, 5), stock(1, 7), stock(2, 4));
    const late = (await finals(0, sent)).slice(-4);
    expect(late.map(({ state }) => state)).toEqual(late.map(() => 'superseded'));
    expect(await at.mget(KEYS)).toEqual([null, null, null]);

    await second.close();
    await kafka.resetOffsets(config.kafka?.groupId ?? '', topic, ['--to-earliest']);
    const over = new AbortController();
    const seen: (string | null)[] = [];
    const polling = (async () => {
      for (; !over.signal.aborted; await new Promise((resolve) => setTimeout(resolve, 2)))
        seen.push(...(await at.mget(KEYS)).filter((text) => text !== null));
    })();
    await start();
    const again = await finals(1, sent);
    over.abort();
    await polling;
    expect(seen).toEqual([]);
    expect(await at.mget(KEYS)).toEqual([null, null, null]);
    expect(new Set(again.map(({ state }) => state))).toEqual(new Set(['superseded', 'evicted']));

    // What is really newer than the delete brings the record back.
    shops.set('3', { id: 3, version: 8 });
    await send(stock(1, 8), stock(2, 8), shop);
    await waitFor(async () => (await at.mget(KEYS)).every((text) => text !== null), {
      what: 'the records to be back',
      timeoutMs: MINUTE_MS,
    });
  });
});

describeWith(['redis'], 'a tombstone', () => {
  let pipeline: Pipeline;
  let service: Service;
  let key: string;

  beforeEach(async () => {
    const keys = uniqueName('k');
    service = aService({ keyOf: (id) => `${keys}_${id}`, ttlMs: 10 * MINUTE_MS, fenceTtlMs: 5 * MINUTE_MS });
    key = service.keyOf('1');
    pipeline = await startPipeline({ services: [service] });
    open.push(() => pipeline.close());
  });

  /** One job with one message; how its run ended. */
  async function run(id: string, body: object, position: number, redrive = 0): Promise<string | undefined> {
    const message = aMessage(position, { serviceId: service.id, id: 1, ...body });
    await pipeline.add(id, [message], { redrive });
    await waitFor(async () => (await pipeline.queue.getJobState(id)) === 'completed', {
      what: `${id} to end`,
      timeoutMs: 30_000,
    });
    return (await pipeline.audit()).find(({ job }) => job === id)?.rows[0]?.[1];
  }
  const fenceKey = (): string => `fence:{${key}}`;
  const del = { op: 'delete' } as const;

  it('refuses an older message however often it is repeated and redriven', async () => {
    expect(await run('old', { version: 5 }, 1)).toBe('redisCached');
    expect(await run('gone', { ...del, version: 7 }, 2)).toBe('evicted');
    for (let redrive = 1; redrive <= 3; redrive += 1) {
      expect(await run(`again-${redrive}`, { version: 5 }, 1, redrive)).toBe('superseded');
    }
    // The delete itself, repeated, changes nothing.
    expect(await run('gone-again', { ...del, version: 7 }, 2, 1)).toBe('evicted');
    expect(await pipeline.redis.get(key)).toBeNull();
    expect(await pipeline.redis.get(fenceKey())).toBe('1|t|c|7|cache-message-0|0|2');
  });

  it('refuses a fill of the read path, whatever that saw before it asked the source', async () => {
    await run('old', { version: 5 }, 1);
    const live = await pipeline.redis.get(fenceKey());
    await run('gone', { ...del, version: 7 }, 2);
    const tombstone = await pipeline.redis.get(fenceKey());
    const fill = async (digits: string, seen: string | null | undefined): Promise<TierResult | undefined> => {
      const [result] = await pipeline.redisTier.write([
        {
          key,
          op: 'upsert',
          text: `{"filled":${digits}}`,
          version: { kind: 'counter', digits },
          origin: { stream: 'read', epoch: 0, position: '1' },
          ttlMs: service.ttlMs,
          fenceTtlMs: service.fenceTtlMs,
          seen,
        },
      ]);
      return result;
    };
    // Read before the delete: the live fence or none was seen. Read after it, from a source that lags: the tombstone was.
    for (const seen of [live, null, tombstone, undefined]) {
      expect(await fill('5', seen)).toMatchObject({
        kind: 'refused',
        reason: 'older',
        by: 'cache-message-0@2',
      });
      expect(await fill('7', seen)).toMatchObject({ kind: 'refused', reason: 'tombstone' });
    }
    expect(await pipeline.redis.get(key)).toBeNull();
    expect(await pipeline.redis.get(fenceKey())).toBe(tombstone);
    expect(await fill('8', tombstone)).toMatchObject({ kind: 'set' });
  });

  it('without a version yields to whatever has one', async () => {
    expect(await run('gone', del, 2)).toBe('evicted');
    expect(await pipeline.redis.get(fenceKey())).toBe('1|o|-||cache-message-0|0|2');
    expect(await run('late', { version: 5 }, 1)).toBe('redisCached');
    const [row] = (await pipeline.audit()).find(({ job }) => job === 'late')?.rows ?? [];
    expect(row?.[11]).toBe('unfencedInline');
  });

  it('holds for its time to live; after that an older message is taken for a new one', async () => {
    await run('old', { version: 5 }, 1);
    await run('gone', { ...del, version: 7 }, 2);
    const lifeMs = await pipeline.redis.pttl(fenceKey());
    expect(lifeMs).toBeGreaterThan(4 * MINUTE_MS);
    expect(lifeMs).toBeLessThanOrEqual(5 * MINUTE_MS);
    expect(await run('late', { version: 6 }, 3)).toBe('superseded');
    // A late message does not lengthen its life.
    expect(await pipeline.redis.pttl(fenceKey())).toBeLessThanOrEqual(lifeMs);

    await pipeline.redis.pexpire(fenceKey(), 1);
    await waitFor(async () => (await pipeline.redis.exists(fenceKey())) === 0, {
      what: 'the tombstone to expire',
    });
    expect(await run('too-late', { version: 6 }, 3, 1)).toBe('redisCached');
    expect(await pipeline.redis.get(fenceKey())).toBe('1|l|c|6|cache-message-0|0|3');
  });
});
