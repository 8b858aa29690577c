import { describe, expect, it } from 'vitest';
import { defineConfig } from '../../src/config/define-config.ts';
import { printConfig, printSources } from '../../src/config/print.ts';
import { resolveConfig, type ResolveOptions } from '../../src/config/resolve.ts';

/** The JSON of the issue: it must go on working. */
const seed =
  JSON.parse(`{ "kafka": { "brokers": ["127.0.0.1:9092"], "topics": ["cache-message"], "groupId": "cachewright" },
  "redis": { "url": "redis://127.0.0.1:6379" },
  "audit": { "url": "sqlite:./cachewright-audit.db" },
  "http": { "host": "127.0.0.1", "port": 8080 },
  "services": {
    "productInfoService": { "source": { "type": "inline" }, "key": "product_info_{id}", "version": { "from": "record", "field": "modifiedTime", "kind": "time", "missing": "timestamp" } },
    "shopInfoService": { "key": "shop_info_{id}", "version": { "from": "record", "field": "version", "kind": "counter" },
      "source": { "type": "http", "url": "http://127.0.0.1:9000/shops/{id}", "timeoutMs": 2000, "headers": { "authorization": { "env": "SHOP_TOKEN" } },
        "batch": { "url": "http://127.0.0.1:9000/shops?ids={ids}", "maxIds": 100, "items": "/data", "id": "/id" }, "limits": { "concurrency": 8, "perSecond": 200 } } },
    "stockService": { "key": "stock_{id}", "version": { "from": "record", "field": "version", "kind": "counter" },
      "source": { "type": "postgres", "url": { "env": "STOCK_DB" }, "id": "id", "query": "select s.id, s.version::text as version, to_jsonb(s) as record from stock s where s.id = any($1::bigint[])" } } } }`);
const secrets = { SHOP_TOKEN: 'Bearer shop-secret', STOCK_DB: 'postgres://stock:db-secret@127.0.0.1/stock' };

const resolve = (options: ResolveOptions) =>
  resolveConfig({ cwd: '/srv', env: {}, label: 'file c.json', ...options });

describe('the configuration of the issue', () => {
  const { config } = resolve({ input: seed, env: secrets });

  it('resolves with every default filled in', () => {
    expect(config.kafka).toMatchObject({
      brokers: ['127.0.0.1:9092'],
      zookeeper: undefined,
      topics: [{ name: 'cache-message', service: undefined, id: '/id', op: '/op', nullValue: 'reject' }],
      sessionTimeoutMs: 10_000,
      heartbeatMs: 2_000,
      onMissingMark: 'earliest',
    });
    expect(config.redis.cache.url).toBe('redis://127.0.0.1:6379');
    expect(config.queue).toMatchObject({
      concurrency: 16,
      lockMs: 4_000,
      stalledIntervalMs: 3_000,
    });
    expect(config.local).toEqual({
      maxEntries: 100_000,
      maxBytes: 268_435_456,
      ttlMs: 300_000,
      blindMs: 5_000,
    });
    expect(config.roles).toEqual(['ingest', 'worker', 'api']);
    expect(config.services['productInfoService']).toMatchObject({
      ttlMs: 0,
      fenceTtlMs: 0,
      local: { ttlMs: 300_000 },
      retry: { attempts: 5, initialMs: 500, factor: 2, maxMs: 60_000, jitter: 0.2, horizonMs: 3_600_000 },
      version: { maxAheadMs: 86_400_000, timezone: undefined },
    });
  });

  it('puts the environment in the place of references', () => {
    expect(config.services['shopInfoService']?.source).toMatchObject({
      headers: { authorization: 'Bearer shop-secret' },
      timeoutMs: 2_000,
      batch: { missing: 'ask' },
    });
    expect(config.services['stockService']?.source).toMatchObject({
      url: secrets.STOCK_DB,
      timeoutMs: 10_000,
    });
  });

  it('has every field, undefined or not', () => {
    const names = Object.keys(config.kafka ?? {});
    expect(names).toEqual(expect.arrayContaining(['zookeeper', 'sasl', 'ssl']));
    expect(Object.keys(config.kafka?.topics[0] ?? {})).toEqual(
      expect.arrayContaining(['service', 'record', 'decode']),
    );
    expect(Object.keys(config.services['stockService'] ?? {})).toEqual(
      expect.arrayContaining(['message', 'record']),
    );
    expect(Object.keys(resolve({ input: {} }).config)).toContain('kafka');
  });

  it('is frozen to its last list', () => {
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.kafka?.topics)).toBe(true);
    expect(Object.isFrozen(config.services['shopInfoService']?.source)).toBe(true);
    expect(() => Object.assign(config.http, { port: 1 })).toThrow(TypeError);
  });

  it('prints no secret', () => {
    const resolved = resolve({
      input: {
        ...seed,
        redis: { url: 'redis://user:redis-secret@127.0.0.1' },
        http: { tokens: ['token-secret'] },
        kafka: {
          brokers: ['a:1'],
          topics: ['t'],
          sasl: { mechanism: 'plain', username: 'u', password: 'sasl-secret' },
        },
      },
      env: secrets,
    });
    for (const text of [printConfig(resolved), printSources(resolved)]) {
      expect(text).not.toContain('secret');
      expect(text).toContain('redis://user:***@127.0.0.1');
      expect(text).toContain('postgres://stock:***@127.0.0.1/stock');
    }
  });
});

describe('precedence', () => {
  it('is flag over environment over file over default, and each value says where it is from', () => {
    const { config, sourceOf } = resolve({
      input: { http: { port: 1, host: 'localhost' }, queue: { concurrency: 2 }, log: { level: 'warn' } },
      env: { CACHEWRIGHT_HTTP_PORT: '2', CACHEWRIGHT_QUEUE_CONCURRENCY: '3' },
      flags: { 'http.port': '3', 'queue.concurrency': undefined },
    });
    expect([config.http.port, config.queue.concurrency, config.log.level, config.log.format]).toEqual([
      3,
      3,
      'warn',
      'json',
    ]);
    expect(sourceOf(['http', 'port'])).toBe('flag --http-port');
    expect(sourceOf(['queue', 'concurrency'])).toBe('env CACHEWRIGHT_QUEUE_CONCURRENCY');
    expect(sourceOf(['log', 'level'])).toBe('file c.json');
    expect(sourceOf(['log', 'format'])).toBe('default');
    expect(sourceOf(['http'])).toBe('file c.json');
  });

  it('replaces a list as a whole', () => {
    const { config, sourceOf } = resolve({
      input: seed,
      env: { ...secrets, CACHEWRIGHT_KAFKA_BROKERS: 'a:1, b:2' },
    });
    expect(config.kafka?.brokers).toEqual(['a:1', 'b:2']);
    expect(sourceOf(['kafka', 'brokers', 0])).toBe('env CACHEWRIGHT_KAFKA_BROKERS');
  });

  it('does not look up a reference that something stronger replaced', () => {
    const { config } = resolve({
      input: { redis: { url: { env: 'NOT_THERE' } } },
      env: { CACHEWRIGHT_REDIS_URL: 'redis://other' },
    });
    expect(config.redis.url).toBe('redis://other');
  });

  it('names the variable that a secret came by', () => {
    const { sourceOf } = resolve({ input: seed, env: secrets });
    expect(sourceOf(['services', 'stockService', 'source', 'url'])).toBe('file c.json → env STOCK_DB');
  });
});

describe('what takes its default from another option', () => {
  const service = { source: { type: 'inline' }, key: 'a_{id}', version: { from: 'offset' } } as const;

  it('keeps fences for a week beyond the values of a service with a time to live', () => {
    const { config } = resolve({ input: { services: { a: { ...service, ttlMs: '1h' } } } });
    expect(config.services['a']).toMatchObject({ ttlMs: 3_600_000, fenceTtlMs: 604_800_000 });
  });

  it('takes the local time to live from the local tier', () => {
    const { config } = resolve({ input: { local: { ttlMs: '10s' }, services: { a: service } } });
    expect(config.services['a']?.local.ttlMs).toBe(10_000);
  });

  it('takes the Redis of the cache from the Redis of the queue', () => {
    expect(resolve({ input: { redis: { url: 'redis://q' } } }).config.redis.cache.url).toBe('redis://q');
    const two = resolve({ input: { redis: { url: 'redis://q', cache: { url: 'redis://c' } } } });
    expect(two.config.redis.cache.url).toBe('redis://c');
  });

  it('makes the audit file absolute, from where its path was written', () => {
    const input = { audit: { url: 'sqlite:./audit.db' } };
    expect(resolve({ input, baseDir: '/etc/cw' }).config.audit.url).toBe('sqlite:/etc/cw/audit.db');
    const env = { CACHEWRIGHT_AUDIT_URL: 'sqlite:audit.db' };
    expect(resolve({ input, baseDir: '/etc/cw', env }).config.audit.url).toBe('sqlite:/srv/audit.db');
    expect(resolve({ baseDir: '/etc/cw' }).config.audit.url).toBe('sqlite:/srv/cachewright-audit.db');
  });
});

describe('durations', () => {
  it.each([
    [250, 250],
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
  ])('reads %j as %i ms', (given, ms) => {
    expect(resolve({ input: { redis: { commandTimeoutMs: given } } }).config.redis.commandTimeoutMs).toBe(ms);
  });

  it.each(['30', '1.5s', 's', '', '-1s', '1w', -1, 0.5, Number.NaN])('refuses %j', (given) => {
    expect(() => resolve({ input: { redis: { commandTimeoutMs: given } } })).toThrow(
      /redis\.commandTimeoutMs.*allowed is a duration/,
    );
  });

  it('reads bare digits of the environment as milliseconds', () => {
    const { config } = resolve({ env: { CACHEWRIGHT_WORKER_SHUTDOWN_GRACE_MS: '700' } });
    expect(config.worker.shutdownGraceMs).toBe(700);
  });
});

describe('a configuration in TypeScript', () => {
  it('may hold schemas and functions, which are left as they are', () => {
    const standard = {
      '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
    } as const;
    const fetch = async (): Promise<unknown> => undefined;
    const decode = (): undefined => undefined;
    const input = defineConfig({
      kafka: { brokers: ['a:1'], topics: [{ name: 't', decode }] },
      services: {
        a: {
          source: { type: 'function', fetch },
          key: 'a_{id}',
          version: { from: 'offset' },
          record: standard,
          message: { type: 'object' },
        },
      },
    });
    const { config } = resolve({ input });
    expect(config.kafka?.topics[0]?.decode).toBe(decode);
    expect(config.services['a']).toMatchObject({
      record: { kind: 'standard', schema: standard },
      message: { kind: 'json', schema: { type: 'object' } },
    });
    expect(config.services['a']?.source).toMatchObject({ fetch, fetchMany: undefined });
    expect(Object.isFrozen(standard)).toBe(false);
    expect(printConfig({ config })).toContain('"record": "[schema]"');
  });

  it('does not change what it was given', () => {
    const input = structuredClone(seed);
    resolve({ input, env: secrets });
    expect(input).toEqual(seed);
  });
});

describe('warnings', () => {
  it('tell of a configuration without services', () => {
    expect(resolve({}).warnings).toEqual(['No services are configured: every message would be rejected.']);
    expect(resolve({ input: seed, env: secrets }).warnings).toEqual([]);
  });
});
