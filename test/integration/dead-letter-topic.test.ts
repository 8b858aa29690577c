import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { SourceRecord } from '../../src/core/ports.ts';
import { aConfig, type RunningApp, startApp, type TestConfig } from '../support/app.ts';
import { lettersLie } from '../support/dead-letters.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { type SharedKafka, sharedKafka, uniqueName } from '../support/servers/shared.ts';

type Got = Pick<SourceRecord, 'key' | 'value'> & { readonly headers: Readonly<Record<string, Buffer[]>> };

/** Everything a topic holds, as it comes. */
async function consume(brokers: readonly string[], topic: string) {
  const consumer = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).consumer({
    groupId: uniqueName('dlq-reader'),
    maxWaitTimeInMs: 100,
  });
  const got: Got[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const headers = Object.entries(message.headers ?? {}).map(
        ([name, value]) => [name, [value ?? []].flat().map((one) => Buffer.from(one))] as const,
      );
      got.push({ key: message.key, value: message.value, headers: Object.fromEntries(headers) });
    },
  });
  return {
    wait: (count: number) =>
      waitFor(() => (got.length >= count ? got : undefined), {
        what: `${count} letters in ${topic}`,
        timeoutMs: 60_000,
      }),
    close: () => consumer.disconnect(),
  };
}

const text = ({ headers }: Got, name: string): string | undefined => headers[name]?.at(-1)?.toString();

describeWith(['kafka', 'redis'], 'dead letters in Kafka', () => {
  let kafka: SharedKafka;
  let redis: RedisServer;
  let config: TestConfig;
  let running: RunningApp;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    [kafka, redis] = await Promise.all([sharedKafka(), startRedis()]);
  });
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });
  afterAll(() => redis.stop());

  const start = async (topic: string, more: object = {}): Promise<void> => {
    config = aConfig(redis.url, {
      log: { messages: 'none' },
      kafka: { brokers: [...kafka.brokers], topics: [topic], deadLetters: {}, ...more },
    });
    running = await startApp(config);
    closing.push(() => running.close());
  };

  const send = async (topic: string, records: readonly Partial<SourceRecord>[]): Promise<void> => {
    const producer = await produceTo(kafka.brokers);
    await producer.send(topic, 0, records);
    await producer.close();
  };

  it('have the original key, value and headers byte for byte, and say what happened', async () => {
    const topic = uniqueName('orders');
    await Promise.all([kafka.createTopic(topic), kafka.createTopic(`${topic}.dlq`)]);
    const binary = Buffer.from([0xff, 0x00, 0xfe, 0x80]);
    const records: Partial<SourceRecord>[] = [
      {
        key: Buffer.from([0x80, 0x81]),
        value: binary,
        headers: [
          ['trace', Buffer.from([0xc0, 0x01])],
          ['trace', Buffer.from('second')],
          ['__connect.errors.topic', Buffer.from('an earlier death')],
        ],
      },
      { key: null, value: Buffer.from('{"serviceId":"nobody","id":"\u00e9"}'), headers: [] },
      { key: Buffer.from('k'), value: null, headers: [['empty', Buffer.alloc(0)]] },
    ];
    await send(topic, records);
    await start(topic);
    const reader = await consume(kafka.brokers, `${topic}.dlq`);
    closing.push(reader.close);
    const got = await reader.wait(3);
    const byOffset = got.toSorted(
      (a, b) => Number(text(a, '__connect.errors.offset')) - Number(text(b, '__connect.errors.offset')),
    );
    expect(byOffset.map(({ key, value }) => ({ key, value }))).toEqual(
      records.map(({ key, value }) => ({ key, value })),
    );
    const [first, second, third] = byOffset;
    expect(first?.headers['trace']).toEqual([Buffer.from([0xc0, 0x01]), Buffer.from('second')]);
    expect(first?.headers['__connect.errors.topic']).toEqual([
      Buffer.from('an earlier death'),
      Buffer.from(topic),
    ]);
    expect(third?.headers['empty']).toEqual([Buffer.alloc(0)]);
    const told = Object.fromEntries(
      Object.keys(second?.headers ?? {}).map((name) => [name, second && text(second, name)]),
    );
    expect(told).toEqual({
      '__connect.errors.topic': topic,
      '__connect.errors.partition': '0',
      '__connect.errors.offset': '1',
      '__connect.errors.connector.name': config.kafka?.groupId,
      '__connect.errors.task.id': '0',
      '__connect.errors.stage': 'parse',
      '__connect.errors.class.name': 'E_SERVICE_UNKNOWN',
      '__connect.errors.exception.class.name': 'CachewrightError',
      '__connect.errors.exception.message': 'No service nobody is configured.',
      'cachewright.message': `${topic}-0@1`,
      'cachewright.epoch': '0',
      'cachewright.redrive': '0',
      'cachewright.service': '',
      'cachewright.id': '',
      'cachewright.state': 'rejected',
      'cachewright.attempts': '0',
      'cachewright.first-failed': expect.stringMatching(/^\d{4}-.*Z$/),
      'cachewright.died': expect.stringMatching(/^\d{4}-.*Z$/),
    });
    await lettersLie(running.app.parts.deadLetters, 3);
  });

  it('wait in their outbox until the topic is there, and one that is too large holds up no other', async () => {
    const topic = uniqueName('orders');
    await kafka.createTopic(topic);
    await send(topic, [
      { value: Buffer.from(`too large ${'x'.repeat(20_000)}`) },
      { value: Buffer.from('small enough') },
    ]);
    await start(topic);
    // In the queue they lie at once; Kafka's outbox keeps them.
    await lettersLie(running.app.parts.deadLetters, 2);
    const waiting = (): Promise<number> => {
      const { connections, keys } = running.app.parts;
      return connections.queue.xlen(keys.deadKafkaOutbox);
    };
    await waitFor(
      async () => running.log.lines.some(({ message }) => message.includes('not taken by Kafka')),
      {
        what: 'a refusal to be told',
        timeoutMs: 60_000,
      },
    );
    expect(await waiting()).toBe(2);
    await running.close();
    closing.length = 0;

    await kafka.createTopic(`${topic}.dlq`, { settings: { 'max.message.bytes': '5000' } });
    running = await startApp(config);
    closing.push(() => running.close());
    const reader = await consume(kafka.brokers, `${topic}.dlq`);
    closing.push(reader.close);
    const [got] = await reader.wait(1);
    expect(got?.value).toEqual(Buffer.from('small enough'));
    await waitFor(async () => (await waiting()) === 1, { what: 'the small one to leave', timeoutMs: 30_000 });
  });
});
