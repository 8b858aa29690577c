import { afterAll, beforeAll, expect, it } from 'vitest';
import { toBuffer } from '../../src/core/change.ts';
import type { DeadLetter } from '../../src/core/ports.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import { aConfig, type RunningApp, startApp } from '../support/app.ts';
import {
  type BadMessage,
  badMessageLimits,
  badMessages,
  badMessageServices,
  badMessageTopics,
} from '../support/bad-messages.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';

/** Kafka takes the largest of them, so that refusing it is our work. */
const MAX_MESSAGE_BYTES = 6 * 1_024 * 1_024;

/** Of one name twice, and with bytes that are no text: a dead letter must bring all of them back. */
const HEADERS: readonly (readonly [string, Buffer])[] = [
  ['trace', Buffer.from('abc')],
  ['trace', Buffer.from('def')],
  ['binary', Buffer.from([0xff, 0x00, 0xfe])],
];

const good = (name: string): string => JSON.stringify({ serviceId: 'stockService', id: name, version: 1 });
const keyOf = (message: BadMessage): Buffer | null => {
  if (message.key === undefined) return Buffer.from('the key');
  return message.key === null ? null : Buffer.from(message.key);
};
const bytesOf = (value: string | Buffer | null): Buffer | null =>
  value === null ? null : Buffer.from(value);
const isRefused = (message: BadMessage): message is BadMessage & { expect: { code: string } } =>
  'code' in message.expect;

/** One app for all cases: a message that did harm would be seen in those behind it. */
let redis: RedisServer;
let running: RunningApp;
const topics = { plain: uniqueName('bad'), tombstones: uniqueName('tombstones') };
const timestampMs = Date.now() - 60_000;

async function start(): Promise<void> {
  const kafka = await sharedKafka();
  redis = await startRedis();
  for (const topic of Object.values(topics)) {
    await kafka.createTopic(topic, { settings: { 'max.message.bytes': String(MAX_MESSAGE_BYTES) } });
  }
  running = await startApp(
    aConfig(redis.url, {
      kafka: {
        brokers: [...kafka.brokers],
        topics: [topics.plain, { name: topics.tombstones, ...badMessageTopics.tombstones }],
      },
      services: badMessageServices,
      limits: badMessageLimits,
    }),
  );
}

describeWith(['kafka', 'redis'], 'bad input', () => {
  beforeAll(start);
  afterAll(async () => {
    await running?.close();
    await redis?.stop();
  });

  describeWith(['kafka'], 'from Kafka', () => {
    /** By message id. */
    let rows: ReadonlyMap<string, AuditRecord>;
    let letters: ReadonlyMap<string, DeadLetter>;
    const offsets = { plain: 0, tombstones: 0 };
    const cases = badMessages.map((message) => {
      const topic: keyof typeof topics = message.topic ?? 'plain';
      const at = offsets[topic];
      offsets[topic] += 2;
      const idAt = (offset: number): string => `${topics[topic]}-0@${offset}`;
      return { name: message.name, message, topic, id: idAt(at), next: idAt(at + 1), goodId: `after-${at}` };
    });

    beforeAll(async () => {
      const producer = await produceTo((await sharedKafka()).brokers);
      let sent = 0;
      for (const { message, topic, goodId } of cases) {
        const next = { value: Buffer.from(good(goodId)), key: Buffer.from(goodId), timestampMs };
        const record = {
          value: bytesOf(message.value),
          key: keyOf(message),
          headers: [...HEADERS],
          timestampMs,
        };
        await producer.send(topics[topic], 0, [record]);
        await producer.send(topics[topic], 0, [next]);
        sent += 2;
        await waitFor(() => running.finalCount() >= sent, { what: `the message after "${message.name}"` });
      }
      await producer.close();
      const found = await running.finals(sent);
      rows = new Map(found.map((row) => [row.message, row]));
      letters = await running.deadLetters(cases.filter(({ message }) => isRefused(message)).length);
    });

    it.for(cases)('$name', ({ message, id, next, goodId }) => {
      const row = rows.get(id);
      const letter = letters.get(id);
      if (isRefused(message)) {
        expect(row).toMatchObject({ state: 'rejected', execution: 1, error: { code: message.expect.code } });
        expect(letter).toMatchObject({
          state: 'rejected',
          error: { code: message.expect.code },
          timestampMs,
        });
        expect(letter === undefined ? undefined : originalOf(letter)).toEqual({
          value: bytesOf(message.value),
          key: keyOf(message),
          headers: HEADERS,
        });
      } else if ('key' in message.expect) {
        const { key, version, op } = message.expect;
        const versions = new Map([
          ['timestamp', `time:${timestampMs}000000`],
          ['none', ''],
        ]);
        expect(row).toMatchObject({ key, version: versions.get(version) ?? version, error: null });
        // Several cases are of one key: an older one finds a newer one's value.
        expect(op === 'delete' ? ['evicted'] : ['redisCached', 'superseded']).toContain(row?.state);
        expect(letter).toBeUndefined();
      }
      expect(rows.get(next)).toMatchObject({ state: 'redisCached', key: `stock_${goodId}` });
    });

    it('ends each message once, with a dead letter for each refused one and for no other', () => {
      expect(cases.length).toBeGreaterThan(130);
      expect(rows.size).toBe(cases.length * 2);
      expect([...letters.keys()].sort()).toEqual(
        cases
          .filter(({ message }) => isRefused(message))
          .map(({ id }) => id)
          .sort(),
      );
    });
  });

  describeWith(['kafka'], 'posted to /v1/changes', () => {
    /** What is another thing in a request: an array is a list of messages there, and an empty body no message at all. */
    const otherwise = new Map([
      ['an empty value', 'E_REQUEST_INVALID'],
      ['only spaces', 'E_REQUEST_INVALID'],
      ['brackets that never close', 'E_REQUEST_INVALID'],
    ]);
    const isPostable = ({ name, topic, value }: BadMessage): boolean =>
      topic === undefined && value !== null && name !== 'an array';
    const cases = badMessages
      .filter(isRefused)
      .filter(isPostable)
      .map(({ name, value, expect: { code } }) => ({ name, value, code: otherwise.get(name) ?? code }));
    const accepted: string[] = [];
    const JSON_TYPE = 'application/json';

    const post = (body: string | Buffer, type = JSON_TYPE): Promise<Response> =>
      fetch(`${running.url}/v1/changes`, { method: 'POST', headers: { 'content-type': type }, body });
    const postGood = async (name: string): Promise<void> => {
      const response = await post(good(name));
      expect(response.status).toBe(202);
      accepted.push(...((await response.json()) as { messages: string[] }).messages);
    };

    it.for(cases)('$name', async ({ name, value, code }) => {
      const response = await post(value ?? '');
      expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(await response.json()).toMatchObject({
        title: code,
        type: `urn:cachewright:error:${code}`,
        status: response.status,
        detail: expect.stringMatching(/./),
        next: expect.stringMatching(/./),
      });
      expect(response.status).toBe(code === 'E_MESSAGE_TOO_LARGE' ? 413 : 400);
      await postGood(`posted after ${name}`);
    });

    it.for([
      ['an array', JSON_TYPE, (bad: string) => `[${good('beside')},${bad}]`],
      ['NDJSON', 'application/x-ndjson', (bad: string) => `${good('beside')}\n${bad}\n`],
    ] as const)(
      'one bad message in %s: the whole request is refused, and the place named',
      async ([, type, bodyOf]) => {
        const response = await post(bodyOf('{"serviceId":"nobody","id":1}'), type);
        expect(response.status).toBe(400);
        expect(await response.json()).toMatchObject({
          title: 'E_SERVICE_UNKNOWN',
          errors: [{ index: 1, code: 'E_SERVICE_UNKNOWN' }],
        });
      },
    );

    // What a web page may send to any address without the browser asking first.
    it.for(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', ''])(
      'neither JSON nor NDJSON by its content type: "%s"',
      async (type) => {
        const init = type === '' ? {} : { headers: { 'content-type': type } };
        const body = Buffer.from(good('text')); // of which fetch says no type by itself
        const response = await fetch(`${running.url}/v1/changes`, { method: 'POST', body, ...init });
        expect(response.status).toBe(400);
        expect(await response.json()).toMatchObject({ title: 'E_REQUEST_INVALID' });
      },
    );

    it('bytes that are no UTF-8 inside a record that would pass otherwise', async () => {
      const response = await post(
        Buffer.from('{"serviceId":"stockService","id":1,"version":1,"a":"\u00ff"}', 'latin1'),
      );
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ title: 'E_MESSAGE_NOT_UTF8' });
    });

    it('a body beyond the limit', async () => {
      const response = await post(`[${`${good('x'.repeat(1_000))},`.repeat(11_000)}${good('y')}]`);
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ title: 'E_REQUEST_TOO_LARGE' });
    });

    it('has put nothing into the queue but the good messages', async () => {
      await postGood('the last one');
      const ofHttp = (all: readonly AuditRecord[]): AuditRecord[] =>
        all.filter(({ stream }) => stream === 'http');
      const found = await waitFor(
        async () => {
          const posted = ofHttp(await running.rows());
          return posted.length >= accepted.length ? posted : undefined;
        },
        { what: 'the posted messages to be on record' },
      );
      expect(accepted.length).toBe(cases.length + 1);
      expect(found.map(({ message, state }) => `${message} ${state}`).sort()).toEqual(
        accepted.map((message) => `${message} redisCached`).sort(),
      );
      expect(await running.openJobs()).toBe(0);
    });
  });
});

function originalOf({ value, key, headers }: DeadLetter): unknown {
  return {
    value: value === null ? null : toBuffer(value),
    key: key === null ? null : toBuffer(key),
    headers: headers.map(([name, bytes]) => [name, toBuffer(bytes)]),
  };
}
