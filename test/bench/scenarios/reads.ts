import { setImmediate as turn } from 'node:timers/promises';
import { createRedisTier } from '../../../src/adapters/redis-tier.ts';
import { type CacheReader, createCacheReader } from '../../../src/reader.ts';
import { startService } from '../../support/app.ts';
import { type Sample, percentile } from '../figures.ts';
import { loadHttp } from '../http-load.ts';
import type { BenchRedis, Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';

const SERVICE = 'productInfoService';
const KEYS = 10_000;
const PER_CALL = 100;
const CONNECTIONS = 32;

/** Local hits: in a program through `cachewright/reader`, and over HTTP with the load from this second process. */
export const reads: Scenario = {
  name: 'reads',
  metrics: [
    { name: 'records', unit: 'records/s', better: 'higher' },
    { name: 'requests', unit: 'requests/s', better: 'higher' },
    { name: 'p99', unit: 'ms', better: 'lower', digits: 1 },
  ],
  bars: [
    { subject: 'get', metric: 'records', atLeast: 200_000 },
    { subject: 'getMany(100)', metric: 'records', atLeast: 1_000_000 },
    { subject: 'http', metric: 'requests', atLeast: 20_000 },
    { subject: 'http', metric: 'p99', atMost: 5 },
  ],
  async prepare(lab) {
    const redis = await lab.redis();
    await fill(redis);
    const calls = lab.pick({ quick: 200_000, default: 1_000_000, full: 5_000_000 });
    return {
      title: `${KEYS.toLocaleString('en')} records of 300 bytes, all of them local hits`,
      trials: [
        { subject: 'get', run: () => withReader(redis, (reader) => singly(reader, calls)) },
        { subject: 'getMany(100)', run: () => withReader(redis, (reader) => inHundreds(reader, calls * 4)) },
        { subject: 'http', run: () => overHttp(lab, redis) },
      ],
      close: () => redis.stop(),
    };
  },
};

async function fill({ client }: BenchRedis): Promise<void> {
  const tier = createRedisTier({ redis: client, log: undefined });
  for (let from = 0; from < KEYS; from += 1_000) {
    const writes = Array.from({ length: 1_000 }, (_, index) => {
      const id = from + index;
      const record = { id, version: 1, name: `product ${id}`, text: 'x'.repeat(250) };
      return {
        key: `product_info_${id}`,
        op: 'upsert',
        text: JSON.stringify(record),
        version: { kind: 'counter', digits: '1' },
        origin: { stream: 'cache-message-0', epoch: 0, position: String(id) },
        ttlMs: 0,
        fenceTtlMs: 0,
        seen: undefined,
      } as const;
    });
    const results = await tier.write(writes);
    if (results.some(({ kind }) => kind !== 'set')) throw new Error('Redis did not take the records');
  }
}

async function withReader(
  { url }: BenchRedis,
  work: (reader: CacheReader) => Promise<Sample>,
): Promise<Sample> {
  const reader = createCacheReader({
    redis: { url },
    local: { ttlMs: '1h' },
    services: { [SERVICE]: { key: 'product_info_{id}' } },
  });
  try {
    await reader.getMany(
      SERVICE,
      Array.from({ length: KEYS }, (_, id) => id),
    );
    return await work(reader);
  } finally {
    await reader.close();
  }
}

/**
 * Reads between two turns of the event loop. Without turns the reader hears nothing of the invalidation log, and on a slow
 * machine rightly takes itself for blind before the run is over.
 */
const READS_A_TURN = 10_000;

/** One after the other, each awaited, as a request handler does it. */
async function singly(reader: CacheReader, calls: number): Promise<Sample> {
  const startMs = performance.now();
  let local = 0;
  for (let call = 0; call < calls; call += 1) {
    const record = await reader.get(SERVICE, String((call * 7_919) % KEYS));
    if (record?.tier === 'local') local += 1;
    if (call % READS_A_TURN === 0) await turn();
  }
  return sampleOf(local, calls, performance.now() - startMs);
}

async function inHundreds(reader: CacheReader, records: number): Promise<Sample> {
  const pages = Array.from({ length: KEYS / PER_CALL }, (_, page) =>
    Array.from({ length: PER_CALL }, (_, index) => String(page * PER_CALL + index)),
  );
  const startMs = performance.now();
  let local = 0;
  for (let call = 0; call < records / PER_CALL; call += 1) {
    const found = await reader.getMany(SERVICE, pages[call % pages.length] ?? []);
    for (const record of found) if (record?.tier === 'local') local += 1;
    if ((call * PER_CALL) % READS_A_TURN === 0) await turn();
  }
  return sampleOf(local, records, performance.now() - startMs);
}

function sampleOf(local: number, asked: number, durationMs: number): Sample {
  if (local !== asked) throw new Error(`${asked - local} of ${asked} reads were no local hits`);
  return { metrics: { records: (asked / durationMs) * 1_000 } };
}

async function overHttp(lab: Lab, { url }: BenchRedis): Promise<Sample> {
  const service = startService({
    roles: ['api'],
    redis: { url },
    queue: { prefix: lab.fresh('reads') },
    http: { port: 0 },
    local: { ttlMs: '1h' },
    log: { level: 'warn' },
    services: {
      [SERVICE]: {
        source: { type: 'inline' },
        key: 'product_info_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
    },
  });
  try {
    const at = await service.ready();
    const pathOf = (request: number): string => `/v1/records/${SERVICE}/${(request * 7) % 1_000}`;
    await loadHttp(at, pathOf, { connections: CONNECTIONS, durationMs: 2_000 });
    const durationMs = lab.pick({ quick: 3_000, default: 3_000, full: 20_000 });
    const load = await loadHttp(at, pathOf, { connections: CONNECTIONS, durationMs });
    if (load.caches.get('local') !== load.requests)
      throw new Error(`not all were local hits: ${JSON.stringify([...load.caches])}`);
    return {
      metrics: {
        requests: (load.requests / load.durationMs) * 1_000,
        p99: percentile(load.latencies, 99),
      },
    };
  } finally {
    service.signal('SIGTERM');
    await service.process.ended;
  }
}
