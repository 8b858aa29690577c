import { DatabaseSync } from 'node:sqlite';
import { afterAll, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import {
  aConfig,
  auditFileOf,
  inlineServices,
  postChanges,
  type Service,
  startService,
  type TestConfig,
} from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { startHttpSource } from '../support/servers/http-source.ts';
import { startKafka } from '../support/servers/kafka.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

/** What the process is given, and what closing may take on top (docs/operations.md), milliseconds. */
const GRACE_MS = 1_000;
const CLOSING_MS = 15_000;
/** For a busy machine: starting to die is not instant. */
const MARGIN_MS = 10_000;

const open: (() => Promise<unknown>)[] = [];
// They mostly wait: side by side they cost the time of one.
afterAll(async () => {
  for (let end = open.pop(); end !== undefined; end = open.pop()) await end();
});

const stock = (id: number): string => JSON.stringify({ serviceId: 'stockService', id, version: 1 });

async function begin(
  more: ConfigInput = {},
): Promise<{ redis: RedisServer; config: TestConfig; service: Service; url: string }> {
  const redis = await startRedis();
  open.push(() => redis.stop());
  const config = aConfig(redis.url, { ...more, worker: { shutdownGraceMs: GRACE_MS } });
  const service = startService(config);
  open.push(() => service.kill());
  const url = await service.ready(60_000);
  return { redis, config, service, url };
}

/** Tells it to stop, and holds it to its deadline. */
async function expectEnd(service: Service): Promise<number | null> {
  const before = performance.now();
  service.signal('SIGTERM');
  const { code, stderr } = await service.process.ended;
  expect(performance.now() - before).toBeLessThan(GRACE_MS + CLOSING_MS + MARGIN_MS);
  if (code !== 0 && code !== 143) throw new Error(`it ended with ${code}:\n${stderr}`);
  return code;
}

describeWith(['redis'], 'a process that is told to stop ends within its deadline', () => {
  it.concurrent('while Redis is gone', async () => {
    const { redis, service, url } = await begin();
    expect((await postChanges(url, stock(1))).status).toBe(202);
    await redis.kill();
    await service.says(/lost Redis/);
    await expectEnd(service);
  });

  it.concurrent('while Redis hangs', async () => {
    const { redis, service, url } = await begin();
    redis.pause();
    // The commands that are under way when it is told to stop wait for their deadline.
    void postChanges(url, stock(1)).catch(() => undefined);
    await expectEnd(service);
    redis.resume();
  });

  it.concurrent('while the audit file is locked by another program; what is not written waits in Redis', async () => {
    const { redis, config, service, url } = await begin();
    const other = new DatabaseSync(auditFileOf(config));
    other.exec('begin immediate');
    expect((await postChanges(url, stock(1))).status).toBe(202);
    const outbox = `{${config.queue.prefix}}:audit-outbox`;
    await waitFor(async () => (await redis.ask(`XLEN ${outbox}`)) === ':1\r\n', {
      what: 'the entry to be in the outbox',
      timeoutMs: 30_000,
    });
    await expectEnd(service);
    expect(await redis.ask(`XLEN ${outbox}`)).toBe(':1\r\n');
    other.exec('rollback');
    other.close();
  });

  it.concurrent('while a source does not answer; its message is handed back', async () => {
    const source = await startHttpSource({ slowMs: 120_000 });
    open.push(() => source.stop());
    const { redis, config, service, url } = await begin({
      services: {
        ...inlineServices,
        shopInfoService: {
          source: { type: 'http', url: `${source.url}/shops/{id}`, timeoutMs: '10s' },
          key: 'shop_info_{id}',
          version: { from: 'record', field: 'version', kind: 'counter' },
        },
      },
    });
    source.put('1', { id: 1, version: 1 });
    source.setMode('slow');
    expect((await postChanges(url, JSON.stringify({ serviceId: 'shopInfoService', id: 1 }))).status).toBe(
      202,
    );
    await waitFor(() => source.requests() === 1, { what: 'the fetch to be under way', timeoutMs: 30_000 });
    expect(await expectEnd(service)).toBe(0);
    const queue = `{${config.queue.prefix}}:changes`;
    expect([await redis.ask(`LLEN ${queue}:active`), await redis.ask(`LLEN ${queue}:wait`)]).toEqual([
      ':0\r\n',
      ':1\r\n',
    ]);
  });
});

describeWith(
  ['redis', 'kafka'],
  'a process that reads from Kafka and is told to stop ends within its deadline',
  () => {
    it.concurrent('while the brokers are gone', async () => {
      const kafka = await startKafka({ mode: 'kraft', brokers: 1 });
      open.push(() => kafka.stop());
      await kafka.createTopic('stopping');
      const { service } = await begin({ kafka: { brokers: [...kafka.brokers], topics: ['stopping'] } });
      await kafka.stop();
      await expectEnd(service);
    });

    it.concurrent('while the brokers hang', async () => {
      const kafka = await startKafka({ mode: 'kraft', brokers: 1 });
      open.push(() => kafka.stop());
      await kafka.createTopic('hanging');
      const { service } = await begin({ kafka: { brokers: [...kafka.brokers], topics: ['hanging'] } });
      kafka.pauseBroker(0);
      await expectEnd(service);
      kafka.resumeBroker(0);
    });
  },
);
