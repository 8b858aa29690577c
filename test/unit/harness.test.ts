import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createHarness, fail, type Harness, type HarnessOptions } from '../../src/testing.ts';

const startMs = Date.parse('2026-01-01T00:00:00Z');

const services = {
  productInfoService: {
    source: { type: 'inline' },
    key: 'product_info_{id}',
    version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
  },
  shopInfoService: {
    source: {
      type: 'http',
      url: 'http://127.0.0.1:9000/shops/{id}',
      headers: { authorization: { env: 'TOKEN' } },
    },
    key: 'shop_info_{id}',
    version: { from: 'record', field: 'version', kind: 'counter' },
    record: z.looseObject({ version: z.number() }),
    retry: { attempts: 3, initialMs: 1_000, factor: 2 },
  },
} satisfies HarnessOptions['services'];

const thin = { serviceId: 'shopInfoService', id: 300 };
let harness: Harness;

const start = (more: Partial<HarnessOptions> = {}): Harness => {
  harness = createHarness({ services, startMs, ...more });
  return harness;
};

afterEach(() => harness.close());

describe('the harness', () => {
  it('takes the original message through both tiers, byte for byte', async () => {
    const text = '{"serviceId":"productInfoService", "id":200,"price":1.50}';
    const [id = ''] = await start().send(text);
    expect(id).toBe('cache-message-0@0');
    expect(await harness.states(id)).toEqual(['received', 'parsed', 'fetched', 'localCached', 'redisCached']);
    expect(await harness.redis.get('product_info_200')).toBe(text);
    expect(await harness.local.get('product_info_200')).toBe(text);
    const record = await harness.get('productInfoService', 200);
    expect(record).toMatchObject({ text, tier: 'local', version: `time:${startMs}000000` });
    expect(record?.value).toEqual({ serviceId: 'productInfoService', id: 200, price: 1.5 });
  });

  it('reads recorded sources without asking for their secrets', async () => {
    start({ records: { shopInfoService: { 300: { version: 7, name: 'Corner' } } } });
    await harness.send([thin, { ...thin, id: 301 }]);
    expect(await harness.redis.get('shop_info_300')).toBe('{"version":7,"name":"Corner"}');
    expect(await harness.states('cache-message-0@1')).toEqual(['received', 'parsed', 'evicting', 'evicted']);
    expect(harness.sources.fetches).toEqual([{ service: 'shopInfoService', ids: ['300', '301'] }]);
  });

  it('keeps the newest record whatever the order', async () => {
    start({ records: { shopInfoService: { 300: { version: 7 } } } });
    await harness.send(thin);
    harness.sources.set('shopInfoService', 300, { version: 6 });
    const [older = ''] = await harness.send(thin);
    expect((await harness.states(older)).at(-1)).toBe('superseded');
    expect(await harness.redis.get('shop_info_300')).toBe('{"version":7}');
  });

  it('runs retries as the clock goes on', async () => {
    start({ records: { shopInfoService: { 300: { version: 7 } } } });
    harness.sources.fail('shopInfoService', 300, 2);
    const [id = ''] = await harness.send(thin);
    await harness.advance(999);
    expect(harness.sources.fetches).toHaveLength(1);
    await harness.advance(1);
    expect(harness.sources.fetches).toHaveLength(2);
    expect(await harness.redis.get('shop_info_300')).toBeNull();
    expect(await harness.settle()).toBe(2_000);
    expect(await harness.redis.get('shop_info_300')).toBe('{"version":7}');
    const trail = await harness.trail(id);
    expect(trail.map(({ execution, state, error }) => [execution, state, error?.code])).toEqual([
      [1, 'parsed', 'E_FETCH_FAILED'],
      [2, 'parsed', 'E_FETCH_FAILED'],
      [3, 'redisCached', undefined],
    ]);
    expect(harness.deadLetters).toEqual([]);
  });

  it('buries what gave up and what was rejected', async () => {
    start({ records: { shopInfoService: { 300: { version: 'seven' } } } });
    harness.sources.fail(
      'shopInfoService',
      301,
      9,
      fail('E_FETCH_TIMEOUT', { service: 'shop', timeoutMs: 5 }),
    );
    await harness.send([thin, { ...thin, id: 301 }, 'no JSON', new Uint8Array([0xff])]);
    await harness.settle();
    const letters = harness.deadLetters.map(({ message, state, error }) => [message, state, error.code]);
    expect(letters.toSorted(([a = ''], [b = '']) => a.localeCompare(b))).toEqual([
      ['cache-message-0@0', 'gaveUp', 'E_RECORD_INVALID'],
      ['cache-message-0@1', 'gaveUp', 'E_FETCH_TIMEOUT'],
      ['cache-message-0@2', 'rejected', 'E_MESSAGE_NOT_JSON'],
      ['cache-message-0@3', 'rejected', 'E_MESSAGE_NOT_UTF8'],
    ]);
  });

  it('reads topics by their mapping, tombstones by their key', async () => {
    start({
      topics: [
        { name: 'shops', service: 'shopInfoService', id: '/after/id', nullValue: 'delete' },
        'cache-message',
      ],
      records: { shopInfoService: { 300: { version: 7 } } },
    });
    const [id] = await harness.send({ after: { id: 300 } });
    expect(id).toBe('shops-0@0');
    expect(await harness.redis.get('shop_info_300')).toBe('{"version":7}');
    const [gone = ''] = await harness.send(null, { key: '{"id":300}' });
    expect((await harness.states(gone)).at(-1)).toBe('evicted');
    expect(await harness.redis.get('shop_info_300')).toBeNull();
  });

  it('forgets what its time to live has passed', async () => {
    const { productInfoService } = services;
    start({ services: { productInfoService: { ...productInfoService, ttlMs: '1m', ttlJitter: 0 } } });
    await harness.send({ serviceId: 'productInfoService', id: 1 });
    await harness.advance(59_999);
    expect(await harness.redis.get('product_info_1')).not.toBeNull();
    await harness.advance(1);
    expect(await harness.redis.get('product_info_1')).toBeNull();
  });

  it('refuses services that the configuration would refuse, and records of none', () => {
    const { shopInfoService } = services;
    expect(() => createHarness({ services: { s: { ...shopInfoService, key: 'no place' } } })).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
    );
    expect(() => createHarness({ services, records: { shops: {} } })).toThrow(
      'service shops, which has records, is not there.',
    );
  });
});
