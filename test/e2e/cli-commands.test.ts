import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/core/trail.ts';
import { type CliProcess, type CliResult, runCli, startCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { freePort } from '../support/servers/free-port.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';
import { waitFor } from '../support/servers/process.ts';
import { startRedis } from '../support/servers/redis.ts';
import { sharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';

/** The message of the original's demonstration, but for its own id. */
const product = (id: string, version: number): string =>
  JSON.stringify({ serviceId: 'productInfoService', id, name: 'iPhone7 phone', version, big: 0 }).replace(
    '"big":0',
    '"big":9007199254740993',
  );

describeWith(['kafka', 'redis'], 'the commands on real servers', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cachewright-cli-'));
  const name = uniqueName('cli');
  let source: HttpSource;
  let service: CliProcess;
  let url = '';
  const cli = (args: readonly string[], input = ''): Promise<CliResult> => runCli(args, { cwd: dir, input });
  const json = async <T>(args: readonly string[], input = ''): Promise<T> => {
    const { stdout } = await cli([...args, '--json'], input);
    return JSON.parse(stdout) as T;
  };

  beforeAll(async () => {
    const [kafka, redis, port] = await Promise.all([sharedKafka(), sharedRedis(), freePort()]);
    await kafka.createTopic(name, { partitions: 3 });
    source = await startHttpSource();
    source.put('300', { id: 300, version: 7, name: 'a shop' });
    const version = { from: 'record', field: 'version', kind: 'counter' };
    const config = {
      kafka: { brokers: kafka.brokers, topics: [name], groupId: name },
      redis: { url: redis.url },
      queue: { prefix: name },
      audit: { url: 'sqlite:./audit.db' },
      http: { port },
      services: {
        productInfoService: { source: { type: 'inline' }, key: `${name}:product:{id}`, version },
        shopInfoService: {
          source: { type: 'http', url: `${source.url}/shops/{id}` },
          key: `${name}:shop:{id}`,
          version,
        },
      },
    };
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    service = startCli(['start', '--json'], { cwd: dir });
    const ready = await waitFor(() => /^\{"ready":true.*\}$/m.exec(service.stdout())?.[0], {
      what: `the service to be ready: ${service.stderr()}`,
      timeoutMs: 60_000,
    });
    ({ url } = JSON.parse(ready) as { url: string });
  });

  afterAll(async () => {
    service.child.kill('SIGKILL');
    await service.ended;
    await source.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** The records of a trail, once the message is on record with a final state. */
  const trailOf = (args: readonly string[], state: string): Promise<AuditRecord[]> =>
    waitFor(
      async () => {
        const records = await json<AuditRecord[]>(['trail', ...args]);
        return records.some((record) => record.state === state) ? records : undefined;
      },
      { what: `${args.join(' ')} to end ${state}`, timeoutMs: 30_000 },
    );

  it('publish, get and trail show a message on its way', async () => {
    const published = await cli(['publish', product('p1', 1)]);
    expect(published.code).toBe(0);
    const id = published.stdout.trim();
    expect(id).toMatch(new RegExp(`^${name}-[012]@\\d+$`));

    const [record] = await trailOf(['--message', id], 'redisCached');
    expect(record?.steps.map(({ to }) => to)).toEqual(['parsed', 'fetched', 'localCached', 'redisCached']);

    const got = await cli(['get', 'productInfoService', 'p1']);
    expect(got.stdout).toBe(`${product('p1', 1)}\n`);
    expect(got.stderr).toMatch(/version counter:1 .*tier local.*age \d+ s/);
    const { stdout } = await cli(['get', 'productInfoService', 'p1', '--json']);
    expect(stdout).toContain(`"value":${product('p1', 1)}}`);

    const text = await cli(['trail', 'productInfoService', 'p1']);
    expect(text.stdout).toContain('received → parsed');
    expect(text.stdout).toContain(id);
    expect((await cli(['trail', '--key', `${name}:product:p1`])).stdout).toContain(id);
  });

  it('publish prints an id for each line, in the order of the lines', async () => {
    const lines = Array.from({ length: 20 }, (_, index) => product(`line-${index}`, 1));
    const { stdout } = await cli(['publish'], `${lines.join('\n')}\n\n`);
    const ids = stdout.trim().split('\n');
    expect(new Set(ids).size).toBe(20);
    const [last] = await trailOf(['--message', ids[19] ?? ''], 'redisCached');
    expect(last?.recordId).toBe('line-19');
    const keyed = await cli(['publish', '--key', 'one', '--json'], 'a\nb\n');
    const partitions = keyed.stdout
      .trim()
      .split('\n')
      .map((line) => line.split('@')[0]);
    expect(new Set(partitions).size).toBe(1);
  });

  it('get and trail end with 1 for what is not there', async () => {
    expect(await cli(['get', 'productInfoService', 'nobody'])).toMatchObject({ code: 1, stdout: '' });
    expect(await cli(['get', 'nobody', '1'])).toMatchObject({ code: 1, stdout: '' });
    expect(await cli(['trail', '--message', `${name}-0@999999`])).toMatchObject({ code: 1, stdout: '' });
  });

  it('publish to a topic that is not there ends with 2', async () => {
    const { code, stderr } = await cli(['publish', '{}', '--topic', `${name}-none`]);
    expect(stderr).toContain('E_TOPIC_MISSING');
    expect(code).toBe(2);
  });

  it('get and trail fall back to Redis and the audit store, and say so', async () => {
    await cli(['publish', product('p2', 1)]);
    await trailOf(['productInfoService', 'p2'], 'redisCached');
    const elsewhere = ['--url', `http://127.0.0.1:${await freePort()}`];
    const got = await cli(['get', 'productInfoService', 'p2', ...elsewhere]);
    expect(got).toMatchObject({ code: 0, stdout: `${product('p2', 1)}\n` });
    expect(got.stderr).toContain('asking Redis');
    expect(got.stderr).toContain('version counter:1');
    const trail = await cli(['trail', 'productInfoService', 'p2', ...elsewhere]);
    expect(trail.stdout).toContain('localCached → redisCached');
    expect(trail.stderr).toContain('reading the store');
    expect(trail.code).toBe(0);
  });

  it('get does not take another program for an instance', async () => {
    const other = createServer(
      (_request, response) => void response.writeHead(404).end('<h1>Not Found</h1>'),
    );
    const port = await listenOnLoopback(other);
    try {
      const { stderr, code } = await cli(['get', 'nobody', '1', '--url', `http://127.0.0.1:${port}`]);
      expect(stderr).toContain('no Cachewright (status 404)');
      expect(code).toBe(1);
    } finally {
      other.close();
    }
  });

  it('try says what would happen and why, and writes nothing', async () => {
    await cli(['publish', product('p3', 5)]);
    await trailOf(['productInfoService', 'p3'], 'redisCached');

    const older = await cli(['try', product('p3', 4)]);
    expect(older.stdout).toContain('would      write nothing: it is superseded');
    expect(older.stdout).toContain('version counter:5');
    const newer = await cli(['try', '-'], product('p3', 6));
    expect(newer.stdout).toContain(`would      write the record under ${name}:product:p3`);
    expect(newer.stdout).toContain('because    the stored version 5 is older');
    expect(newer.code).toBe(0);
    expect((await cli(['get', 'productInfoService', 'p3'])).stdout).toBe(`${product('p3', 5)}\n`);

    const fetched = await cli(['try', '{"serviceId":"shopInfoService","id":300}', '--json']);
    expect(JSON.parse(fetched.stdout)).toMatchObject({
      runs: [{ outcome: 'write', version: 'counter:7', record: { name: 'a shop' }, state: 'redisCached' }],
    });
    const gone = await cli(['try', '{"serviceId":"shopInfoService","id":404}']);
    expect(gone.stdout).toContain('because    the source has no such record');
    const inRedis = ['--url', `http://127.0.0.1:${await freePort()}`];
    expect(await cli(['get', 'shopInfoService', '300', ...inRedis])).toMatchObject({ code: 1 });
  });

  it('try names what would be rejected or retried, and ends with 1', async () => {
    const rejected = await cli(['try', 'not json']);
    expect(rejected.stdout).toContain('E_MESSAGE_NOT_JSON');
    expect(rejected.code).toBe(1);
    source.setMode('500', '301');
    const retried = await json<{ runs: object[] }>(['try', '{"serviceId":"shopInfoService","id":301}']);
    expect(retried.runs).toMatchObject([{ outcome: 'retried', error: { code: 'E_FETCH_FAILED' } }]);
  });

  it('ingest takes each line of a file once, and again when asked to', async () => {
    const lines = [product('f1', 1), 'not json', product('f2', 1)];
    writeFileSync(join(dir, 'changes.ndjson'), `${lines.join('\n')}\n`);
    const first = await json<{ stream: string; messages: number; end: string }>(['ingest', 'changes.ndjson']);
    expect(first).toMatchObject({ messages: 3, end: 'done' });
    await trailOf(['--message', `${first.stream}@3`], 'redisCached');
    const [bad] = await trailOf(['--message', `${first.stream}@2`], 'rejected');
    expect(bad?.error?.code).toBe('E_MESSAGE_NOT_JSON');

    const piped = await json(['ingest', '-'], `${lines.join('\n')}\n`);
    expect(piped).toMatchObject({ stream: first.stream, messages: 0, end: 'known' });
    expect(await json(['ingest', 'changes.ndjson', '--again'])).toMatchObject({ messages: 3, epoch: 1 });
    const records = await waitFor(
      async () => {
        const found = await json<AuditRecord[]>(['trail', '--message', `${first.stream}@1`]);
        return found.length === 2 ? found : undefined;
      },
      { what: 'both epochs to be on record', timeoutMs: 30_000 },
    );
    expect(records.map(({ epoch, state }) => [epoch, state])).toEqual([
      [0, 'redisCached'],
      [1, 'redisCached'],
    ]);
  });

  it('doctor looks at everything, and finds that Redis has no append-only file', async () => {
    const { stdout, code } = await cli(['doctor']);
    expect(stdout).toMatch(/✓ kafka: cluster \S+: 1 broker\(s\), version 4\.0 or newer/);
    expect(stdout).toContain(`✓ kafka: topic ${name}: 3 partition(s), 1 replica(s)`);
    expect(stdout).toMatch(/✓ redis: its clock is \d+ ms/);
    expect(stdout).toContain('✓ source shopInfoService: http at 127.0.0.1:');
    expect(stdout).toContain(`✓ http: an instance answers at ${url}, and is ready`);
    expect(stdout).toContain('! redis: no append-only file');
    expect(stdout).not.toMatch(/^✗/m);
    expect(code).toBe(3);
  });

  it('doctor is content with a Redis as it should be, and not with another policy or topic', async () => {
    const good = await startRedis({ appendonly: true });
    const bad = await startRedis({ policy: 'allkeys-lru' });
    try {
      const fine = await runCli(['doctor'], { cwd: dir, env: { CACHEWRIGHT_REDIS_URL: good.url } });
      expect(fine).toMatchObject({ code: 0, stderr: 'Everything is as it should be.\n' });
      const env = { CACHEWRIGHT_REDIS_URL: bad.url, CACHEWRIGHT_KAFKA_TOPICS: `${name}-none` };
      const { findings } = JSON.parse((await runCli(['doctor', '--json'], { cwd: dir, env })).stdout) as {
        findings: { level: string; text: string; next: string }[];
      };
      const found = findings.filter(({ level }) => level === 'found');
      expect(found.map(({ text }) => text).join('\n')).toMatch(
        /topic \S+-none does not exist[^]*allkeys-lru/,
      );
      expect(found.every(({ next }) => next !== '')).toBe(true);
    } finally {
      await Promise.all([good.stop(), bad.stop()]);
    }
  });

  it('init guesses a configuration from a message of the topic', async () => {
    await cli(['publish', product('p9', 1)]);
    const { code, stderr } = await cli(['init', '--from-topic', name, '--output', 'made.mjs']);
    expect(stderr).toContain(`seen: ${name}-`);
    expect(code).toBe(0);
    expect(await cli(['config', 'check', '--config', 'made.mjs'])).toMatchObject({ code: 0 });
  });

  it('a second instance on the same port is refused with 2', async () => {
    const { code, stderr } = await cli(['start', '--roles', 'api']);
    expect(stderr).toContain('E_PORT_IN_USE');
    expect(code).toBe(2);
  });

  it('start drains at SIGTERM and ends with 0', async () => {
    service.child.kill('SIGTERM');
    const { code, stderr } = await service.ended;
    expect(stderr).toContain('drained');
    expect(code).toBe(0);
  });
});
