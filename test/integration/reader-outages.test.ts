/** `cachewright/reader` as its users have it, when processes die and Redis is away. */
import { createServer, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { createCacheReader, type CacheReader, type CachedRecord } from '../../src/reader.ts';
import { startInstance } from '../support/coherent-instance.ts';
import { describeWith } from '../support/needs.ts';
import { fetchedService } from '../support/readers.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';
import { startChild, waitFor } from '../support/servers/process.ts';
import { startProxy } from '../support/servers/proxy.ts';
import { startRedis } from '../support/servers/redis.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const PROGRAM = fileURLToPath(new URL('../support/reader-process.ts', import.meta.url));
const WAIT_MS = 30_000;
/** As `createReader` has it. */
const LEASE_MS = 3_000;

/** A source that leaves its first caller waiting for ever. */
async function startHangingSource(text: string) {
  const hanging: ServerResponse[] = [];
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    if (asked === 1) hanging.push(response);
    else response.end(text);
  });
  const port = await listenOnLoopback(server);
  onTestFinished(() => {
    for (const response of hanging) response.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${port}`, asked: () => asked };
}

describeWith(['redis'], 'a reader whose fellow is killed', () => {
  it('takes over the lease of a process that was killed with -9 while its source hung, and asks once more', async () => {
    const { url } = await sharedRedis();
    const service = uniqueName('killed');
    const source = await startHangingSource('{"version":1}');
    const holder = startChild({
      name: 'reader',
      command: process.execPath,
      args: [PROGRAM, url, source.url, service, '1'],
    });
    onTestFinished(() => holder.stop());
    await holder.waitUntil(() => source.asked() === 1, { what: 'it to ask the source', timeoutMs: WAIT_MS });
    const other = createCacheReader({
      redis: { url },
      services: { [service]: fetchedService(service, source.url) },
    });
    onTestFinished(() => other.close());
    const waiting = other.get(service, '1');
    await holder.kill();
    // By so long at most it outlives its holder, which renews it no more.
    const look = new Redis(url);
    onTestFinished(() => look.disconnect());
    expect(await look.pttl(`lease:{${service}:1}`)).toBeLessThanOrEqual(LEASE_MS);
    expect(await waiting).toMatchObject({ text: '{"version":1}', tier: 'source' });
    expect(source.asked()).toBe(2);
    expect(await other.get(service, '1')).toMatchObject({ text: '{"version":1}' });
    expect(source.asked()).toBe(2);
  });
});

describeWith(['redis'], 'a reader that hears nothing for longer than `local.blindMs`', () => {
  const open = (url: string): CacheReader => {
    const reader = createCacheReader({
      redis: { url, commandTimeoutMs: 500 },
      local: { blindMs: 1_000, ttlMs: '1h' },
      services: { shop: { key: 'shop_{id}' } },
    });
    onTestFinished(() => reader.close());
    return reader;
  };
  const until = async (
    reader: CacheReader,
    wanted: Partial<CachedRecord>,
    seen: CachedRecord[] = [],
  ): Promise<CachedRecord> =>
    waitFor(
      async () => {
        const record = await reader.get('shop', 1);
        if (record === undefined) return undefined;
        seen.push(record);
        return Object.entries(wanted).every(([field, value]) => record[field as 'text'] === value) && record;
      },
      { what: `an answer with ${JSON.stringify(wanted)}`, timeoutMs: WAIT_MS },
    );

  it('says that its answers are stale while Redis is stopped, and is right again when it goes on', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const writer = await startInstance('writer', redis.url);
    onTestFinished(() => writer.close());
    await writer.write('shop_1', '1');
    const reader = open(redis.url);
    await until(reader, { tier: 'local', text: 'text 1' });
    redis.pause();
    await until(reader, { tier: 'stale', text: 'text 1' });
    await expect(reader.get('shop', 2)).rejects.toMatchObject({ code: 'E_REDIS_READ' });
    redis.resume();
    await writer.write('shop_1', '2');
    const seen: CachedRecord[] = [];
    await until(reader, { tier: 'local', text: 'text 2' }, seen);
    // From the write on nothing older was called fresh: blind, it asked Redis.
    expect(seen.filter(({ tier, text }) => tier !== 'stale' && text === 'text 1')).toEqual([]);
  });

  it('calls nothing fresh that was overwritten while it was cut off, and is right again when it is not', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const proxy = await startProxy(redis.port);
    onTestFinished(() => proxy.stop());
    const writer = await startInstance('writer', redis.url);
    onTestFinished(() => writer.close());
    await writer.write('shop_1', '1');
    const reader = open(`redis://127.0.0.1:${proxy.port}`);
    await until(reader, { tier: 'local', text: 'text 1' });
    proxy.block();
    await until(reader, { tier: 'stale', text: 'text 1' });
    await writer.write('shop_1', '2');
    expect(await reader.get('shop', 1)).toMatchObject({ tier: 'stale', text: 'text 1' });
    proxy.unblock();
    const seen: CachedRecord[] = [];
    await until(reader, { tier: 'local', text: 'text 2' }, seen);
    expect(seen.filter(({ tier, text }) => tier !== 'stale' && text === 'text 1')).toEqual([]);
  });
});
