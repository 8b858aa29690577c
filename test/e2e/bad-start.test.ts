import { mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import { aConfig, type Service, startService } from '../support/app.ts';
import { type KafkaAt, startKafkaAt } from '../support/kafka-at.ts';
import { describeWith } from '../support/needs.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';
import { freePort, privateDir } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { uniqueName } from '../support/servers/shared.ts';

const services: Service[] = [];
const begin = (config: unknown, args: readonly string[] = []): Service => {
  const service = startService(config, args);
  services.push(service);
  return service;
};
afterEach(async () => void (await Promise.all(services.splice(0).map((service) => service.kill()))));

/** A start that is refused: exit code 2, the code and what to do on stderr, no stack trace, nothing on stdout. */
async function expectRefusal(service: Service, words: readonly (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await service.process.ended;
  for (const word of words) expect(stderr).toMatch(word);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
}

const REDIS = 'redis://127.0.0.1:6379';

/** Refused before anything is connected. */
const unreadable: Readonly<
  Record<string, readonly [config: unknown, args: readonly string[], words: readonly (string | RegExp)[]]>
> = {
  'a misspelt section': [
    { kafak: { brokers: ['127.0.0.1:9092'], topics: ['t'] } },
    [],
    ['E_CONFIG_INVALID', 'kafak', 'Did you mean kafka?'],
  ],
  'a misspelt option': [
    { redis: { ulr: REDIS } },
    [],
    ['E_CONFIG_INVALID', 'redis.ulr', 'Did you mean url?'],
  ],
  'a misspelt option of a service': [
    {
      services: {
        a: { source: { type: 'inline' }, key: 'a_{id}', verison: { from: 'offset' } },
      },
    },
    [],
    ['E_CONFIG_INVALID', 'services.a.verison', 'Did you mean version?'],
  ],
  'an unknown key that is like no other': [
    { http: { frobnicate: true } },
    [],
    ['E_CONFIG_INVALID', 'http.frobnicate', /^(?!.*Did you mean)/s],
  ],
  'several problems, all told at once': [
    { http: { port: 'eighty' }, redis: { url: 'localhost' }, log: { level: 'loud' } },
    [],
    ['E_CONFIG_INVALID', '3 problem', 'http.port', 'redis.url', 'log.level'],
  ],
  'a topic without brokers': [{ kafka: { topics: ['t'] } }, [], ['E_CONFIG_INVALID', 'kafka.brokers']],
  'a topic of a service that is not there': [
    { kafka: { brokers: ['127.0.0.1:9092'], topics: [{ name: 't', service: 'nobody' }] } },
    [],
    ['E_CONFIG_INVALID', 'kafka.topics', 'there is no such service'],
  ],
  'a host beyond the loopback without tokens': [
    { http: { host: '0.0.0.0' } },
    [],
    ['E_HOST_UNPROTECTED', '0.0.0.0', 'http.tokens'],
  ],
  'a file that is no JSON': ['{ "redis": ', [], ['E_CONFIG_UNREADABLE']],
  'an unknown role': [{}, ['--roles', 'worker,cook'], ['E_CONFIG_INVALID', 'cook', '--roles']],
  'an unknown flag': [{}, ['--frobnicate'], ['--frobnicate']],
};

describe('a start that is refused for its configuration', () => {
  it.for(Object.entries(unreadable))('%s', async ([, [config, args, words]]) => {
    await expectRefusal(begin(config, args), words);
  });
});

describeWith(['kafka', 'redis'], 'a start that is refused by its surroundings', () => {
  const users = { ingest: 'the-right-one' };
  const topic = uniqueName('start');
  let kafka: KafkaCluster;
  let redis: RedisServer;
  let evicting: RedisServer;
  let occupied: Server;
  let occupiedPort = 0;

  beforeAll(async () => {
    occupied = createServer();
    [kafka, redis, evicting, occupiedPort] = await Promise.all([
      startKafka({ saslUsers: users }),
      startRedis(),
      startRedis({ policy: 'allkeys-lru' }),
      listenOnLoopback(occupied),
    ]);
    await kafka.createTopic(topic);
  });
  afterAll(async () => {
    occupied?.close();
    await Promise.all([kafka?.stop(), redis?.stop(), evicting?.stop()]);
  });

  const onKafka = (more: Partial<NonNullable<ConfigInput['kafka']>>) =>
    aConfig(redis.url, { kafka: { brokers: [...kafka.brokers], topics: [topic], ...more } });
  const logIn = (mechanism: 'plain' | 'scram-sha-256', username: string, password: string) =>
    onKafka({ brokers: [...kafka.saslBrokers], sasl: { mechanism, username, password } });

  it('a port in use', async () => {
    const config = aConfig(redis.url, { http: { port: occupiedPort } });
    await expectRefusal(begin(config), ['E_PORT_IN_USE', `127.0.0.1:${occupiedPort}`]);
  });

  it('a Redis that may evict jobs', async () => {
    await expectRefusal(begin(aConfig(evicting.url)), ['E_REDIS_POLICY', 'allkeys-lru', 'noeviction']);
  });

  it('no such topic', async () => {
    const config = onKafka({ topics: [topic, `${topic}-nowhere`] });
    await expectRefusal(begin(config), ['E_TOPIC_MISSING', `${topic}-nowhere`]);
  });

  it.for([
    ['plain', 'ingest', 'wrong'],
    ['plain', 'nobody', 'the-right-one'],
    ['scram-sha-256', 'ingest', 'wrong'],
  ] as const)('wrong Kafka credentials: %s as %s with "%s"', async ([mechanism, username, password]) => {
    const config = logIn(mechanism, username, password);
    await expectRefusal(begin(config), ['E_KAFKA_AUTH']);
  });

  it.for(['plain', 'scram-sha-256'] as const)(
    'and not with the right ones: %s, which are never printed',
    async (mechanism) => {
      const service = begin(logIn(mechanism, 'ingest', 'the-right-one'));
      await service.ready();
      expect(service.process.stdout() + service.process.stderr()).not.toContain('the-right-one');
    },
  );

  it('lives on before a topic in an unknown compression, and says so in the log and in /livez', async () => {
    const snappy = uniqueName('snappy');
    await kafka.createTopic(snappy);
    await kafka.consoleProduce(
      snappy,
      ['{"serviceId":"stockService","id":1,"version":1}'],
      ['--compression-codec', 'snappy'],
    );
    const service = begin(onKafka({ topics: [snappy] }));
    await service.says(/E_CODEC_MISSING.*compressed with snappy/);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(service.process.stdout())?.[0] ?? '';
    expect(await (await fetch(`${url}/livez`)).json()).toMatchObject({
      reason: expect.stringContaining('E_CODEC_MISSING'),
    });
    expect(service.process.child.exitCode).toBeNull();
  });
});

describeWith(['kafka', 'redis'], 'a start before its servers', () => {
  let redis: RedisServer | undefined;
  let kafka: KafkaAt | undefined;
  afterAll(async () => void (await Promise.all([redis?.stop(), kafka?.kill()])));

  it('waits for each, says for which, and is ready when they are', async () => {
    const [redisPort, kafkaPort] = [await freePort(), await freePort()];
    const config = aConfig(`redis://127.0.0.1:${redisPort}`, {
      kafka: { brokers: [`127.0.0.1:${kafkaPort}`], topics: ['late'] },
    });
    const service = begin(config);
    await service.says(new RegExp(`waiting for Redis at 127\\.0\\.0\\.1:${redisPort}`));
    redis = await startRedis({ port: redisPort });
    await service.says(new RegExp(`waiting for Kafka at 127\\.0\\.0\\.1:${kafkaPort}`));
    expect(service.process.stdout()).not.toContain('"ready"');
    kafka = await startKafkaAt(kafkaPort);
    await kafka.createTopic('late');
    const url = await service.ready(60_000);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  it('ends by a signal while it still waits', async () => {
    const service = begin(aConfig(`redis://127.0.0.1:${await freePort()}`));
    await service.says(/waiting for Redis/);
    service.signal('SIGTERM');
    expect((await service.process.ended).code).toBe(0);
  });

  it('says what is wrong with an audit file it cannot open', async () => {
    redis ??= await startRedis();
    const dir = join(privateDir('audit'), 'is-a-directory');
    mkdirSync(dir);
    const service = begin(aConfig(redis.url, { audit: { url: `sqlite:${dir}` } }));
    const { code, stderr } = await service.process.ended;
    expect(stderr).toMatch(/E_AUDIT_STORE/);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });
});
