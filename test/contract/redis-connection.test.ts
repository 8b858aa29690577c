import { describe, expect, it } from 'vitest';
import { describeWith } from '../support/needs.ts';
import { freePort } from '../support/servers/process.ts';
import { startRedis } from '../support/servers/redis.ts';
import {
  connectRedis,
  connectRedisForWorker,
  describeRedis,
  type RedisOptions,
  waitForRedis,
} from '../../src/adapters/redis-connection.ts';

function optionsFor(url: string): RedisOptions {
  return { url, name: 'cachewright-test', connectTimeoutMs: 1_000, commandTimeoutMs: 500, onError: () => {} };
}

describe('the address of Redis', () => {
  it.each([
    ['redis://127.0.0.1', 'Redis at 127.0.0.1:6379'],
    ['redis://user:p%40ss@cache.internal:6380/2', 'Redis at cache.internal:6380'],
    ['rediss://:secret@[::1]:6390', 'Redis at ::1:6390'],
    ['redis+cluster://u:secret@10.0.0.1:7000,10.0.0.2', 'Redis Cluster at 10.0.0.1:7000, 10.0.0.2:6379'],
  ])('%s is shown as %s, without credentials', (url, shown) => {
    expect(describeRedis(url)).toBe(shown);
  });

  it.each([
    'http://secret@host',
    'redis://',
    'redis://secret@a:1,b:2',
    'redis://u:%zzsecret@host',
    'redis://secret@host:port',
  ])('%s is refused without showing it', (url) => {
    expect(() => connectRedis(optionsFor(url))).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
    );
    expect(() => connectRedis(optionsFor(url))).toThrow(/^(?!.*secret)/s);
  });
});

describeWith(['redis'], 'a connection to Redis', () => {
  it('logs in, chooses the database and gives its name', async () => {
    const server = await startRedis({ password: 'p@ss/word:1' });
    const redis = connectRedis(
      optionsFor(`redis://:${encodeURIComponent('p@ss/word:1')}@${server.host}:${server.port}/3`),
    );
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
    expect(await redis.client('INFO')).toMatch(/name=cachewright-test .*db=3/);
    redis.disconnect();
    await server.stop();
  });

  it('says what cannot be reached and why, and is ready when it is there', async () => {
    const port = await freePort();
    const reasons: string[] = [];
    const redis = connectRedis({
      ...optionsFor(`redis://127.0.0.1:${port}`),
      onError: (reason) => reasons.push(reason),
    });
    await expect(waitForRedis(redis, { what: 'Redis', timeoutMs: 300 })).rejects.toMatchObject({
      code: 'E_UNREACHABLE',
      message: `Redis cannot be reached: connect ECONNREFUSED 127.0.0.1:${port}.`,
    });
    expect(reasons[0]).toContain('ECONNREFUSED');
    await expect(redis.get('k')).rejects.toThrow(/enableOfflineQueue/);
    const waiting = waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
    const server = await startRedis({ port });
    await waiting;
    expect(await redis.ping()).toBe('PONG');
    redis.disconnect();
    await server.stop();
  });

  it('of a cluster names a node that does not answer', async () => {
    const port = await freePort();
    const redis = connectRedis(optionsFor(`redis+cluster://127.0.0.1:${port}`));
    await expect(waitForRedis(redis, { what: 'Redis Cluster', timeoutMs: 600 })).rejects.toMatchObject({
      code: 'E_UNREACHABLE',
    });
    redis.disconnect();
  });

  it('refuses at once when it was closed', async () => {
    const redis = connectRedis(optionsFor(`redis://127.0.0.1:${await freePort()}`));
    const waiting = waitForRedis(redis, { what: 'Redis', timeoutMs: 60_000 });
    redis.disconnect();
    await expect(waiting).rejects.toMatchObject({ code: 'E_UNREACHABLE' });
    await expect(waitForRedis(redis, { what: 'Redis', timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'E_UNREACHABLE',
    });
  });

  it('of a worker survives a restart in the middle of a blocking command', async () => {
    const server = await startRedis({ appendonly: true });
    const worker = connectRedisForWorker(optionsFor(server.url));
    const popped = worker.blpop('list', 0);
    await waitForRedis(worker, { what: 'Redis', timeoutMs: 10_000 });
    await server.restart();
    const redis = connectRedis(optionsFor(server.url));
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 10_000 });
    await redis.rpush('list', 'item');
    expect(await popped).toEqual(['list', 'item']);
    redis.disconnect();
    worker.disconnect();
    await server.stop();
  });
});
