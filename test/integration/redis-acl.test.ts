import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  aConfig,
  inlineServices,
  postChanges,
  type RunningApp,
  startApp,
  type TestConfig,
} from '../support/app.ts';
import { runCli } from '../support/cli.ts';
import { DOCS } from '../support/generate-docs.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';

/** The rules of a user as docs/operations.md tells them. */
function documentedRules(user: string): string {
  const page = readFileSync(join(DOCS, 'operations.md'), 'utf8');
  const [, rules] = new RegExp(`^ACL SETUSER ${user} on >PASSWORD (.*)$`, 'm').exec(page) ?? [];
  if (rules === undefined) throw new Error(`docs/operations.md tells of no user ${user}`);
  return rules;
}

describeWith(['redis', 'kafka'], 'the Redis users that docs/operations.md tells of', () => {
  const dir = privateDir('acl');
  let redis: RedisServer;
  let source: HttpSource;
  let config: TestConfig;
  let running: RunningApp;
  let topic: string;
  let producer: Awaited<ReturnType<typeof produceTo>>;

  beforeAll(async () => {
    const users = ['cachewright-queue', 'cachewright-cache'].map(
      (user) => `${user} on >secret ${documentedRules(user)}`,
    );
    // The default user keeps a password of its own: the service cannot fall back to it.
    redis = await startRedis({ appendonly: true, password: 'of-the-default-user', users });
    [source, topic] = [await startHttpSource(), uniqueName('acl')];
    const kafka = await sharedKafka();
    await kafka.createTopic(topic);
    producer = await produceTo(kafka.brokers);
    const as = (user: string): string => `redis://${user}:secret@127.0.0.1:${redis.port}`;
    config = {
      ...aConfig(as('cachewright-queue'), {
        kafka: { brokers: [...kafka.brokers], topics: [topic] },
        redis: { cache: { url: as('cachewright-cache') } },
        services: {
          productInfoService: { ...inlineServices.productInfoService, ttlMs: '1h' },
          shopInfoService: {
            source: { type: 'http', url: `${source.url}/shops/{id}` },
            key: 'product_shop_{id}',
            version: { from: 'record', field: 'version', kind: 'counter' },
            retry: { attempts: 2, initialMs: 20, maxMs: 20 },
          },
        },
      }),
      // The documented keys are those of the default prefix.
      queue: { prefix: 'cachewright' },
    };
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    running = await startApp(config);
  });
  afterAll(async () => {
    await running.close();
    await producer.close();
    await Promise.all([redis.stop(), source.stop()]);
  });

  it('suffice for everything the service does: no command is denied', async () => {
    const states = (): Record<string, number> => ({ ...running.counts });
    const product = (id: number, more: object = {}) => ({ serviceId: 'productInfoService', id, ...more });
    source.put('1', { id: 1, version: 1 });
    const bodies = [
      product(1),
      product(2),
      product(1, { op: 'delete' }),
      { serviceId: 'shopInfoService', id: 1 },
      { serviceId: 'shopInfoService', id: 404, op: 'delete' },
      { serviceId: 'nobody', id: 1 },
    ];
    await producer.send(
      topic,
      0,
      bodies.map((body) => ({ value: Buffer.from(JSON.stringify(body)) })),
    );
    await waitFor(() => running.finalCount() >= bodies.length, {
      what: 'the messages to end',
      timeoutMs: 60_000,
    });
    expect(states()).toMatchObject({ rejected: 1 });

    // A retry that waits, and gives up: delayed jobs and a dead letter.
    source.setMode('500');
    const headers = { 'idempotency-key': 'once' };
    const posted = await postChanges(
      running.url,
      JSON.stringify({ serviceId: 'shopInfoService', id: 2 }),
      headers,
    );
    expect(posted.status).toBe(202);
    await waitFor(() => (running.counts['gaveUp'] ?? 0) === 1, { what: 'it to give up', timeoutMs: 60_000 });
    expect(await (await fetch(`${running.url}/v1/records/productInfoService/2`)).text()).toContain('"id":2');
    expect((await fetch(`${running.url}/queues/api/queues`)).status).toBe(200);

    const cli = (...args: string[]) => runCli(args, { cwd: dir });
    expect((await cli('fence', 'reset', 'productInfoService', '2', '--reason', 'a test')).code).toBe(0);
    writeFileSync(join(dir, 'changes.ndjson'), `${JSON.stringify(product(3))}\n`);
    expect((await cli('ingest', 'changes.ndjson')).code).toBe(0);
    const findings = JSON.parse((await cli('doctor', '--json')).stdout) as {
      findings: { check: string; level: string; text: string }[];
    };
    expect(
      findings.findings.filter(({ check, level }) => check.startsWith('redis') && level !== 'ok'),
    ).toEqual([]);
    await waitFor(() => running.finalCount() >= bodies.length + 2, {
      what: 'the file to end',
      timeoutMs: 60_000,
    });
    await running.close();
    running = await startApp(config);

    expect(await redis.ask('ACL LOG')).toBe('*0\r\n');
    expect(running.log.lines.filter(({ message }) => message.includes('NOPERM'))).toEqual([]);
  });

  it('are kept to their own keys', async () => {
    const { queue, cache } = running.app.parts.connections;
    await expect(queue.get('product_info_2')).rejects.toThrow(/NOPERM|No permissions/);
    await expect(cache.get('{cachewright}:changes:meta')).rejects.toThrow(/NOPERM|No permissions/);
    await expect(queue.call('FLUSHALL')).rejects.toThrow(/NOPERM/);
    await expect(queue.call('KEYS', '*')).rejects.toThrow(/NOPERM/);
    await expect(cache.call('CONFIG', 'GET', '*')).rejects.toThrow(/NOPERM/);
  });
});
