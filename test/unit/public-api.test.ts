import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import {
  type Cachewright,
  catalogue,
  createCachewright,
  defineConfig,
  defineSource,
  type MessageEvent,
} from '../../src/index.ts';
import { createCacheReader } from '../../src/reader.ts';
import type { ImportReport } from '../support/import-probe.ts';

const root = join(import.meta.dirname, '../..');
const config = defineConfig({
  services: {
    productInfoService: { source: { type: 'inline' }, key: 'product_info_{id}', version: { from: 'offset' } },
  },
});

function imported(entry: string): ImportReport {
  const probe = join(root, 'test/support/import-probe.ts');
  return JSON.parse(
    execFileSync(process.execPath, [probe, join(root, entry)], { encoding: 'utf8' }),
  ) as ImportReport;
}

/** zod keeps its registry in globals of its own, so that two copies of it can share schemas. */
const zodGlobals = ['globalThis.__zod_globalConfig', 'globalThis.__zod_globalRegistry'];

describe.each([
  [
    'cachewright',
    'src/index.ts',
    [
      'CachewrightError',
      'catalogue',
      'createCachewright',
      'defineConfig',
      'defineSource',
      'registerKafkaCodec',
    ],
  ],
  ['cachewright/reader', 'src/reader.ts', ['CachewrightError', 'createCacheReader']],
  [
    'cachewright/machine',
    'machines/index.ts',
    [
      'adoptState',
      'changeMessage',
      'chartJson',
      'chartMarkdown',
      'chartMermaid',
      'chartText',
      'compileChart',
      'machineName',
      'migrations',
    ],
  ],
  [
    'cachewright/testing',
    'src/testing.ts',
    [
      'CachewrightError',
      'MemoryCluster',
      'chartPaths',
      'createHarness',
      'createMemoryAudit',
      'createMemoryMarks',
      'createMemoryRedisTier',
      'createMemorySource',
      'createVirtualClock',
      'fail',
      'runPath',
      'silentLog',
    ],
  ],
])('importing %s', (_name, entry, names) => {
  const report = imported(entry);

  it('gives exactly the names that are documented', () => {
    expect(report.names).toEqual(names);
  });

  it('opens nothing, listens to nothing and patches nothing', () => {
    expect(report.resources).toEqual([]);
    expect(report.listeners).toEqual([]);
    expect(report.patched.filter((name) => !zodGlobals.includes(name))).toEqual([]);
  });

  it('loads no consumer, no queue and no HTTP server', () => {
    for (const driver of ['kafkajs', 'bullmq', 'fastify']) expect(report.packages).not.toContain(driver);
  });
});

describe('the probe of imports', () => {
  it('sees what loading the whole app does', () => {
    const report = imported('src/app/app.ts');
    expect(report.packages).toEqual(expect.arrayContaining(['kafkajs', 'bullmq', 'fastify']));
    expect(report.patched.length).toBeGreaterThan(0);
  });
});

describe('createCachewright', () => {
  it('refuses a wrong configuration at once, with every problem', () => {
    const wrong = { redis: { url: 'nonsense' }, http: { port: -1 } };
    expect(() => createCachewright(wrong)).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
    expect(() => createCachewright(wrong)).toThrow(/redis\.url[\s\S]*http\.port/);
  });

  it('says before its start that it does not run, and does not start after its end', async () => {
    const cachewright = createCachewright(config);
    expect(cachewright.url).toBe('');
    await expect(cachewright.publish({ serviceId: 'productInfoService', id: 1 })).rejects.toMatchObject({
      code: 'E_NOT_RUNNING',
      message: 'publish needs an instance that runs.',
    });
    await expect(cachewright.get('productInfoService', 1)).rejects.toMatchObject({ code: 'E_NOT_RUNNING' });
    await cachewright.close();
    await expect(cachewright.start()).rejects.toMatchObject({ code: 'E_NOT_RUNNING' });
  });

  it('ends a start that still waits for Redis when it is closed', async () => {
    const cachewright = createCachewright({
      ...config,
      redis: { url: 'redis://127.0.0.1:1' },
      roles: ['worker'],
      log: { level: 'silent' },
    });
    const ended = cachewright.start().catch((error: unknown) => error);
    await cachewright.close(0);
    expect(await ended).toBeInstanceOf(Error);
    expect(await cachewright.start().catch((error: unknown) => error)).toBe(await ended);
  });

  it('types its events by their names', () => {
    const listen = (cachewright: Cachewright): void => {
      cachewright.on('ready', () => undefined);
      cachewright.on('message', (event) => expectTypeOf(event).toEqualTypeOf<MessageEvent>());
      // @ts-expect-error -- there is no such event
      cachewright.on('mesage', () => undefined);
    };
    expect(listen).toBeTypeOf('function');
  });
});

describe('defineSource', () => {
  it('makes a source of functions for a service', () => {
    const source = defineSource({ fetch: async (id) => ({ id }), timeoutMs: '2s' });
    expect(source).toMatchObject({ type: 'function', timeoutMs: '2s' });
    const { services } = config;
    expect(() =>
      createCachewright({
        services: { ...services, own: { source, key: 'own:{id}', version: { from: 'offset' } } },
      }),
    ).not.toThrow();
  });
});

describe('createCacheReader', () => {
  it('refuses a wrong address, key or bound, all at once', () => {
    const wrong = {
      redis: { url: 'nonsense' },
      local: { maxEntries: 0 },
      services: { s: { key: 'no place' } },
    };
    expect(() => createCacheReader(wrong)).toThrow(
      /redis\.url[\s\S]*local\.maxEntries[\s\S]*services\.s\.key/,
    );
  });

  it('fails a read while Redis is away, with the reason, and names an unknown service', async () => {
    const reasons: string[] = [];
    const reader = createCacheReader({
      redis: { url: 'redis://127.0.0.1:1', commandTimeoutMs: 50 },
      services: { s: { key: 's_{id}' } },
      onError: (reason) => reasons.push(reason),
    });
    await expect(reader.get('other', 1)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    await expect(reader.get('s', 1)).rejects.toMatchObject({ code: 'E_REDIS_READ' });
    await vi.waitFor(() => expect(reasons[0]).toContain('ECONNREFUSED'), 5_000);
    await reader.close();
  });
});

describe('the catalogue', () => {
  it('says of every code what happens and what to do', () => {
    expect(Object.keys(catalogue).length).toBeGreaterThan(50);
    for (const { message, next } of Object.values(catalogue)) {
      expect(message).not.toBe('');
      expect(next).not.toBe('');
    }
  });
});
