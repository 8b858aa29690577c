import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliProcess, type CliResult, runCli, startCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { freePort } from '../support/servers/free-port.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedPostgres, sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['redis', 'postgres'], 'the commands of an operator', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cachewright-admin-'));
  const name = uniqueName('admin');
  let source: HttpSource;
  let service: CliProcess;
  let elsewhere: readonly string[];
  let redis: Redis;
  const cli = (args: readonly string[], input = ''): Promise<CliResult> => runCli(args, { cwd: dir, input });
  /** Until Redis has this text under the key of an id; null: none. */
  const holds = (of: string, id: string, text: string | null): Promise<unknown> =>
    waitFor(async () => (await redis.get(`${name}:${of}:${id}`)) === text, {
      what: `${of} ${id} to be ${text}`,
      timeoutMs: 60_000,
    });

  beforeAll(async () => {
    const [{ url }, database, port] = await Promise.all([sharedRedis(), sharedPostgres(), freePort()]);
    redis = new Redis(url);
    const client = new Client({ connectionString: database });
    await client.connect();
    await client.query('create table stock (id bigint primary key, version bigint not null)');
    await client.query('insert into stock select id, 1 from generate_series(1, 250) as id');
    await client.end();
    source = await startHttpSource();
    elsewhere = ['--url', `http://127.0.0.1:${await freePort()}`];
    const version = { from: 'record', field: 'version', kind: 'counter' };
    const config = {
      roles: ['worker', 'api'],
      redis: { url },
      queue: { prefix: name },
      audit: { url: 'sqlite:./audit.db' },
      http: { port, tokens: ['a-token-of-the-test'] },
      services: {
        productInfoService: { source: { type: 'inline' }, key: `${name}:product:{id}`, version },
        shopInfoService: {
          source: { type: 'http', url: `${source.url}/shops/{id}` },
          key: `${name}:shop:{id}`,
          version,
        },
        stockService: {
          source: {
            type: 'postgres',
            url: database,
            query:
              'select s.id, s.version::text as version, to_jsonb(s) as record from stock s where s.id = any($1::bigint[])',
          },
          key: `${name}:stock:{id}`,
          version,
        },
      },
    };
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    service = startCli(['start', '--json'], { cwd: dir });
    await waitFor(() => service.stdout().includes('"ready":true'), {
      what: `the service to be ready: ${service.stderr()}`,
      timeoutMs: 60_000,
    });
  });

  afterAll(async () => {
    redis.disconnect();
    service.child.kill('SIGTERM');
    await service.ended;
    await source.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('refresh and evict go through the running instance, with its token, and tell the messages', async () => {
    source.put('1', { version: 1 });
    const refreshed = await cli(['refresh', 'shopInfoService', '1', '--reason', 'try it']);
    expect(refreshed.stderr).toContain('1 message(s) in the queue');
    expect(refreshed.stdout).toMatch(/^admin:try-it@[0-9A-Z]{26}\n$/);
    await holds('shop', '1', '{"version":1}');
    const evicted = await cli(['evict', 'shopInfoService', '1', '--json']);
    const { message } = JSON.parse(evicted.stdout) as { message: string };
    expect(message).toMatch(/^admin:no-reason-given@/);
    await holds('shop', '1', null);
    const trail = await waitFor(
      async () => {
        const { code, stdout } = await cli(['trail', '--message', message]);
        return code === 0 ? stdout : undefined;
      },
      { what: 'the eviction on record', everyMs: 500 },
    );
    expect(trail).toContain('evicted');
  });

  it('refresh puts it into the queue itself when no instance answers', async () => {
    source.put('2', { version: 2 });
    const { stderr, stdout, code } = await cli(['refresh', 'shopInfoService', '2', ...elsewhere]);
    expect(stderr).toContain('putting it into the queue');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^admin:/)]);
    await holds('shop', '2', '{"version":2}');
  });

  it('refuses what cannot be done, and says why', async () => {
    const inline = await cli(['refresh', 'productInfoService', '1']);
    expect([inline.code, inline.stderr]).toEqual([2, expect.stringContaining('come with their messages')]);
    const direct = await cli(['refresh', 'productInfoService', '1', ...elsewhere]);
    expect([direct.code, direct.stderr]).toEqual([1, expect.stringContaining('E_NOT_REFRESHABLE')]);
    expect(await cli(['evict', 'nobody', '1'])).toMatchObject({ code: 1 });
    expect(await cli(['warm', 'shopInfoService'])).toMatchObject({ code: 2 });
    expect(await cli(['warm', 'shopInfoService', '--query', 'select 1'])).toMatchObject({ code: 2 });
    const broken = await cli(['warm', 'stockService', '--query', 'select nothing from nowhere']);
    expect([broken.code, broken.stderr]).toEqual([2, expect.stringContaining('nowhere')]);
  });

  it('warm reads the ids of a file once, and again when asked to', async () => {
    for (const id of ['10', '11', '12']) source.put(id, { id, version: 1 });
    writeFileSync(join(dir, 'ids.txt'), '10\n11\n\n12\n');
    const first = JSON.parse((await cli(['warm', 'shopInfoService', '--ids', 'ids.txt', '--json'])).stdout);
    expect(first).toMatchObject({ end: 'done', messages: 3, ids: 3 });
    for (const id of ['10', '11', '12']) await holds('shop', id, `{"id":"${id}","version":1}`);
    const known = await cli(['warm', 'shopInfoService', '--ids', '-'], '10\n11\n12\n');
    expect(known.stderr).toContain('warmed before');
    const again = await cli(['warm', 'shopInfoService', '--ids', 'ids.txt', '--again', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ end: 'done', messages: 3, epoch: 1 });
  });

  it('warm reads the ids that a query finds', async () => {
    const args = [
      'warm',
      'stockService',
      '--query',
      'select id from stock order by id',
      '--per-second',
      '5000',
    ];
    const { stdout, stderr } = await cli(args);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^warm:[0-9a-f]{20} 250 of 250 record\(s\) asked for\n$/);
    await holds('stock', '250', '{"id": 250, "version": 1}');
  });
});
