import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { aConfig, auditFileOf, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';

const MESSAGES = 200_000;
const KEYS = 20_000;
const BYTES = 300;
/** Messages in one produce request: with 300 bytes each, below the broker's limit of 1 MB. */
const BATCH = 2_500;
const PARTITIONS = 2;

describeWith(['kafka', 'redis'], 'a backlog of 200,000 messages', () => {
  let redisServer: RedisServer;
  let redis: RedisClient;
  let running: RunningApp | undefined;
  let brokers: readonly string[];
  const topic = uniqueName('backlog');
  /** Key → the text with its newest version. */
  const newest = new Map<string, string>();

  beforeAll(async () => {
    const kafka = await sharedKafka();
    ({ brokers } = kafka);
    [redisServer] = await Promise.all([startRedis(), kafka.createTopic(topic, { partitions: PARTITIONS })]);
    redis = connectRedis({
      url: redisServer.url,
      name: 'test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 30_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
    const producer = await produceTo(brokers);
    for (let at = 0; at < MESSAGES; at += BATCH) {
      const texts = Array.from({ length: BATCH }, (_, offset) => message(at + offset, newest));
      const records = texts.map((text) => ({ value: Buffer.from(text) }));
      await producer.send(topic, (at / BATCH) % PARTITIONS, records);
    }
    await producer.close();
  });
  afterAll(async () => {
    await running?.close();
    redis.disconnect();
    await redisServer.stop();
  });

  it('ends in both tiers, every key at its newest version, with a row on record for each message', async () => {
    const config = aConfig(redisServer.url, { kafka: { brokers: [...brokers], topics: [topic] } });
    const startedMs = performance.now();
    running = await startApp(config);
    const readyMs = performance.now();
    const { finalCount, counts } = running;
    await waitFor(() => finalCount() >= MESSAGES, { what: 'the backlog to be through', timeoutMs: 60_000 });
    const endedMs = performance.now();
    expect(await running.app.parts.audit.flush(30_000)).toBe(true);
    const recordedMs = performance.now();

    expect(Object.keys(counts).sort()).toEqual(['redisCached', 'superseded']);
    expect(finalCount()).toBe(MESSAGES);
    expect(newest.size).toBe(KEYS);
    const keys = [...newest.keys()];
    const texts = [...newest.values()];
    expect((await redis.mget(keys)).map((text, index) => text === texts[index])).not.toContain(false);
    const local = await running.app.parts.localTier.getMany(keys);
    expect(local.map((entry, index) => entry?.text === texts[index])).not.toContain(false);
    expect(countOf(auditFileOf(config))).toEqual({
      rows: MESSAGES,
      messages: MESSAGES,
    });
    const perSecond = Math.round(MESSAGES / ((endedMs - startedMs) / 1_000));
    console.log(
      `backlog: ${MESSAGES.toLocaleString('en')} messages of ${BYTES} bytes over ${KEYS.toLocaleString('en')} keys: ` +
        `${perSecond.toLocaleString('en')} messages/s from start() (ready after ${Math.round(readyMs - startedMs)} ms) ` +
        `to the last final state; the audit was complete ${Math.round(recordedMs - endedMs)} ms later`,
    );
  });
});

/** Versions rise with the index, but for every eleventh message, which is older than the one before it of its key. */
function message(index: number, newest: Map<string, string>): string {
  const id = (index * 7_919) % KEYS;
  const round = Math.floor(index / KEYS);
  const isLate = index % 11 === 0 && round > 0;
  const version = isLate ? round * 10 - 15 : round * 10;
  const head = `{"serviceId":"stockService","id":${id},"version":${Math.max(0, version)},"n":${index},"fill":"`;
  const text = `${head}${'x'.repeat(BYTES - head.length - 2)}"}`;
  if (!isLate) newest.set(`stock_${id}`, text);
  return text;
}

function countOf(file: string): unknown {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return { ...db.prepare('select count(*) as rows, count(distinct message) as messages from audit').get() };
  } finally {
    db.close();
  }
}
