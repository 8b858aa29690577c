import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import {
  aConfig,
  FINAL,
  idsOf,
  inlineServices,
  openBooks,
  postChanges,
  type Service,
  startApp,
  startService,
} from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { withAdmin } from '../support/servers/kafka-tools.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { type SharedKafka, sharedKafka, uniqueName } from '../support/servers/shared.ts';

const stock = (id: number | string, version: number): string =>
  JSON.stringify({ serviceId: 'stockService', id, version });
const shop = (id: number | string): string => JSON.stringify({ serviceId: 'shopInfoService', id });

let source: HttpSource;
let redis: RedisServer;
/** What a test started, ended in reverse. */
const open: (() => Promise<unknown>)[] = [];

/** A source that answers 300 and up; records have version 1. */
beforeAll(async () => {
  [source, redis] = await Promise.all([startHttpSource({ slowMs: 4_000 }), startRedis()]);
  for (let id = 0; id < 1_000; id += 1) source.put(String(id), { id: String(id), version: 1 });
});
beforeEach(() => {
  source.resetCounts();
  source.setMode('ok');
});
afterEach(async () => {
  for (let end = open.pop(); end !== undefined; end = open.pop()) await end();
});
afterAll(async () => void (await Promise.all([source.stop(), redis.stop()])));

const withShops = (more: ConfigInput = {}, redisUrl = redis.url) =>
  aConfig(redisUrl, {
    ...more,
    services: {
      ...inlineServices,
      shopInfoService: {
        source: { type: 'http', url: `${source.url}/shops/{id}`, timeoutMs: '10s' },
        key: 'shop_info_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
    },
  });

function begin(config: unknown): Service {
  const service = startService(config);
  open.push(() => service.kill());
  return service;
}

function books(config: Parameters<typeof openBooks>[0]): ReturnType<typeof openBooks> {
  const opened = openBooks(config);
  open.push(() => opened.close());
  return opened;
}

/** Message → its rows on record that are final. */
function finalsOf(rows: readonly AuditRecord[]): Map<string, AuditRecord[]> {
  const finals = new Map<string, AuditRecord[]>();
  for (const row of rows.filter(({ state }) => FINAL.has(state))) {
    finals.set(row.message, [...(finals.get(row.message) ?? []), row]);
  }
  return finals;
}

describeWith(['redis'], 'a process that is told to stop', () => {
  it('finishes the work in hand, leaves the rest in the queue, and ends with 0; the next one goes on', async () => {
    const config = withShops({ queue: { concurrency: 2 } });
    const first = begin(config);
    const url = await first.ready();
    source.setMode('slow');
    // Two jobs in hand that wait for the source, and three that nobody has touched.
    const ids = (
      await Promise.all([1, 2, 3, 4, 5].map((id) => postChanges(url, shop(id)).then(idsOf)))
    ).flat();
    await waitFor(() => source.requests() === 2, { what: 'two fetches to be under way' });
    first.signal('SIGTERM');
    await first.says(/SIGTERM: draining/);
    source.setMode('ok');
    const { code, stderr } = await first.process.ended;
    expect({ code, isDrained: stderr.includes('drained') }).toEqual({ code: 0, isDrained: true });

    const record = books(config);
    expect((await record.rows()).map(({ state, execution }) => [state, execution])).toEqual([
      ['redisCached', 1],
      ['redisCached', 1],
    ]);
    expect(await record.openJobs()).toBe(3);
    await begin(config).ready();
    const rows = await record.finals(ids.length);
    expect(rows.map(({ message }) => message).sort()).toEqual(ids.sort());
    expect(rows.map(({ state, execution }) => `${state} ${execution}`)).toEqual(
      ids.map(() => 'redisCached 1'),
    );
  });

  it('ends at once by a second signal', async () => {
    const service = begin(withShops());
    const url = await service.ready();
    source.setMode('slow');
    await postChanges(url, shop(1));
    await waitFor(() => source.requests() === 1, { what: 'the fetch to be under way' });
    service.signal('SIGTERM');
    await service.says(/SIGTERM: draining/);
    const before = performance.now();
    service.signal('SIGTERM');
    expect((await service.process.ended).code).toBe(143);
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

describeWith(['redis', 'kafka'], 'a flow from Kafka', () => {
  const BATCHES = 60;
  const BATCH = 20;
  const UNCHANGED = 'unchanged';
  let kafka: SharedKafka;
  let topic: string;
  let client: RedisClient;

  beforeEach(async () => {
    kafka = await sharedKafka();
    topic = uniqueName('flow');
    await kafka.createTopic(topic, { partitions: 2 });
  });

  /** Key → newest text, of messages whose every seventh is late; the very first is of a record that never changes again. */
  async function produce(onBatch: (batch: number) => Promise<void>): Promise<Map<string, string>> {
    const newest = new Map<string, string>();
    const producer = await produceTo(kafka.brokers);
    for (let batch = 0; batch < BATCHES; batch += 1) {
      await onBatch(batch);
      const texts = Array.from({ length: BATCH }, (_, place) => {
        const index = batch * BATCH + place;
        if (place === 5) return shop(index % 1_000);
        if (index === 0) return stock(UNCHANGED, 1);
        const id = index % 97;
        const isLate = index % 7 === 3 && index > 97;
        const text = stock(id, isLate ? index - 97 : index + 1_000);
        if (!isLate) newest.set(`stock_${id}`, text);
        return text;
      });
      const records = texts.map((text) => ({ value: Buffer.from(text) }));
      await producer.send(topic, batch % 2, records);
    }
    await producer.close();
    return newest;
  }

  /** Every message that Kafka has, by id. */
  async function written(): Promise<string[]> {
    const offsets = await withAdmin(kafka.brokers, (admin) => admin.fetchTopicOffsets(topic));
    return offsets.flatMap(({ partition, high }) =>
      Array.from({ length: Number(high) }, (_, offset) => `${topic}-${partition}@${offset}`),
    );
  }

  async function connectTo(url: string): Promise<void> {
    const options = { url, name: 'test', connectTimeoutMs: 2_000, commandTimeoutMs: 5_000 };
    client = connectRedis({ ...options, onError: () => undefined });
    open.push(async () => client.disconnect());
    await waitForRedis(client, { what: 'Redis', timeoutMs: 5_000 });
  }

  async function expectNewest(newest: ReadonlyMap<string, string>): Promise<void> {
    expect(await client.mget([...newest.keys()])).toEqual([...newest.values()]);
  }

  it('outlives a process that is killed with -9: another takes its jobs up within 10 s, and what died is named', async () => {
    const config = withShops({
      kafka: { brokers: [...kafka.brokers], topics: [topic], sessionTimeoutMs: '6s' },
    });
    const victim = begin(config);
    await victim.ready();
    const heir = begin(config);
    const heirUrl = await heir.ready();
    const [victimName, heirName] = [victim, heir].map(
      ({ process }) => /"instance":"([^"]+)"/.exec(process.stdout())?.[1] ?? '',
    );
    await connectTo(redis.url);
    let killedMs = 0;
    source.setMode('slow');
    const newest = await produce(async (batch) => {
      if (batch !== BATCHES / 2) return;
      await waitFor(() => source.requests() >= 10, { what: 'both processes to have jobs in hand' });
      killedMs = Date.now();
      await victim.kill();
      source.setMode('ok');
    });
    const expected = await written();
    expect(expected).toHaveLength(BATCHES * BATCH);
    const rows = await books(config).finals(expected.length);

    const finals = finalsOf(rows);
    expect([...finals.keys()].sort()).toEqual(expected.sort());
    expect(new Set(rows.map(({ message, job, execution }) => `${message} ${job} ${execution}`)).size).toBe(
      rows.length,
    );
    const lost = rows.filter(({ state }) => state === 'lost');
    expect(lost.length).toBeGreaterThan(0);
    // A process tells where it is when an execution lasts; one that has just begun leaves no word.
    const named = new RegExp(`^lost with worker ${victimName} in (received|parsed|fetched|localCached)$`);
    const notes = lost.map(({ note }) => note).filter((note) => note !== 'lost before it told where it was');
    expect(notes.length).toBeGreaterThan(0);
    expect(notes.filter((note) => !named.test(note))).toEqual([]);
    for (const { message, job, execution } of lost) {
      const successor = rows.find(
        (row) => row.message === message && row.job === job && row.execution === execution + 1,
      );
      expect(successor).toMatchObject({ worker: heirName });
      expect((successor?.startedMs ?? Infinity) - killedMs).toBeLessThan(10_000);
    }
    await expectNewest(newest);
    const [{ message } = { message: '' }] = lost;
    const trail = await fetch(`${heirUrl}/v1/trail?message=${encodeURIComponent(message)}`);
    expect(await trail.json()).toMatchObject({ trail: [{ state: 'lost' }, { worker: heirName }] });
  });

  it('outlives a Redis that is killed: nothing is lost, it goes on by itself, and requests are told meanwhile', async () => {
    const durable = await startRedis({ appendonly: true });
    open.push(() => durable.stop());
    const config = withShops({ kafka: { brokers: [...kafka.brokers], topics: [topic] } }, durable.url);
    const running = await startApp(config);
    open.push(() => running.close());
    const key = { 'idempotency-key': uniqueName('key') };
    const linesAbout = (words: string): number =>
      running.log.lines.filter((line) => JSON.stringify(line).includes(words)).length;
    const refusals: unknown[] = [];
    const served: number[] = [];
    const newest = await produce(async (batch) => {
      if (batch === BATCHES / 3) {
        // Asked for, it is in the local tier also where that was emptied since, as when its follower had to begin anew.
        const isCached = async () =>
          (await fetch(`${running.url}/v1/records/stockService/${UNCHANGED}`)).status === 200 &&
          (await running.app.parts.localTier.get(`stock_${UNCHANGED}`)) !== undefined;
        await waitFor(isCached, { what: 'messages to flow', timeoutMs: 60_000 });
        source.setMode('slow');
        source.resetCounts();
      }
      if (batch === BATCHES / 2) {
        await waitFor(() => source.requests() > 0, { what: 'jobs to be in hand' });
        await durable.kill();
        source.setMode('ok');
        for (const headers of [{}, key]) {
          const response = await postChanges(running.url, stock('posted', 1), headers);
          refusals.push([
            response.status,
            response.headers.get('content-type'),
            ((await response.json()) as { title: string }).title,
          ]);
        }
        const ready = await fetch(`${running.url}/readyz`);
        served.push((await fetch(`${running.url}/v1/records/stockService/${UNCHANGED}`)).status);
        served.push((await fetch(`${running.url}/v1/records/stockService/nobody`)).status);
        refusals.push([ready.status, ((await ready.json()) as { missing: string[] }).missing]);
      }
      if (batch === (BATCHES * 2) / 3) {
        // Long enough for several attempts to get it back.
        await waitFor(() => linesAbout('E_UNREACHABLE') >= 3, { what: 'the audit to miss it' });
        await durable.restart();
      }
    });
    const problem = [503, 'application/problem+json; charset=utf-8', 'E_ENQUEUE_FAILED'];
    expect(refusals).toEqual([problem, problem, [503, [`Redis at 127.0.0.1:${durable.port}`]]]);

    // What the local tier has is served without Redis; what a write was under way for it has dropped.
    expect(served).toEqual([200, 503]);

    const expected = await written();
    const rows = await running.finals(expected.length);
    expect([...finalsOf(rows).keys()].sort()).toEqual(expected.sort());
    await connectTo(durable.url);
    await expectNewest(newest);
    const address = `Redis at 127.0.0.1:${durable.port}`;
    expect([linesAbout(`"lost ${address}`), linesAbout(`"${address} is back"`)]).toEqual([1, 1]);
    const again = await postChanges(running.url, stock('posted', 1), key);
    expect(again.status).toBe(202);
    const [posted = ''] = await idsOf(again);
    expect(finalsOf(await running.finals(expected.length + 1)).get(posted)).toHaveLength(1);
    expect((await fetch(`${running.url}/readyz`)).status).toBe(200);
  });
});
