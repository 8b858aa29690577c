import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli, startCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

describeWith(['redis'], 'start', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cachewright-start-'));
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
    const config = {
      redis: { url: redis.url },
      audit: { url: 'sqlite:./audit.db' },
      http: { port: 0 },
      services: {},
    };
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
  });
  afterAll(async () => {
    await redis.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const start = (...args: string[]) => startCli(['start', '--json', ...args], { cwd: dir });
  const said = (process: ReturnType<typeof start>, words: string): Promise<true> =>
    waitFor(() => process.stderr().includes(words), { what: `"${words}"`, timeoutMs: 30_000 }).then(
      () => true,
    );

  it('waits for Redis, says so, and is ready once it is up', async () => {
    await redis.stop();
    const service = start();
    await said(service, `waiting for Redis at ${redis.host}:${redis.port}`);
    expect(service.stdout()).toBe('');
    await redis.restart();
    await said(service, 'ready:');
    expect(JSON.parse(service.stdout())).toMatchObject({ ready: true, roles: ['ingest', 'worker', 'api'] });
    service.child.kill('SIGINT');
    expect(await service.ended).toMatchObject({ code: 0 });
  });

  it('ends with 0 at a signal while it still waits', async () => {
    await redis.stop();
    const service = start();
    await said(service, 'waiting for Redis');
    service.child.kill('SIGTERM');
    expect(await service.ended).toMatchObject({ code: 0 });
    await redis.restart();
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends at once at a second %s, with %i', async (signal, expected) => {
    const service = start();
    await said(service, 'ready:');
    // Nothing answers any more, so that closing takes its time.
    redis.pause();
    try {
      service.child.kill(signal);
      await said(service, 'draining');
      service.child.kill(signal);
      expect(await service.ended).toMatchObject({ code: expected });
    } finally {
      redis.resume();
    }
  });

  it('refuses a Redis that may evict jobs, with 2', async () => {
    const evicting = await startRedis({ policy: 'allkeys-lru' });
    try {
      const { code, stderr } = await runCli(['start', '--redis-url', evicting.url], { cwd: dir });
      expect(stderr).toContain('E_REDIS_POLICY');
      expect(code).toBe(2);
    } finally {
      await evicting.stop();
    }
  });
});
