import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { DeadLetterBox } from '../../src/core/ports.ts';
import { aConfig, type RunningApp, startApp, type TestConfig } from '../support/app.ts';
import {
  aShop,
  finalsOf,
  lettersLie,
  messagesOf,
  officeOver,
  shopServices,
} from '../support/dead-letters.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const author = { by: 'ann', reason: 'the source is mended' };
const atOnce = { ...author, force: false, perSecond: 0, limit: 1_000_000 };

const shopMessage = (id: number | string): object => ({ serviceId: 'shopInfoService', id });

describeWith(['redis'], 'redriving dead letters', () => {
  let keys = '';
  let shop: ReturnType<typeof aShop>;
  let config: TestConfig;
  let running: RunningApp;
  const configured = async (more: ConfigInput = {}): Promise<TestConfig> => {
    const { url } = await sharedRedis();
    return aConfig(url, { log: { messages: 'none' }, services: shopServices(shop, keys), ...more });
  };
  beforeEach(() => {
    keys = uniqueName('k');
    shop = aShop();
  });
  afterEach(() => running.close());

  const send = async (
    bodies: readonly (object | string)[],
    from = 0,
    stream = 'changes-0',
  ): Promise<void> => {
    await running.app.parts.submit(messagesOf(bodies, { from, stream }), {
      idPrefix: `${stream}-${from}-${uniqueName('s')}`,
    });
  };
  const stored = (id: number | string): Promise<string | null> =>
    running.app.parts.connections.cache.get(`${keys}:shop:${id}`);
  const versionOf = (text: string | null | undefined): number =>
    text == null ? 0 : (JSON.parse(text) as { version: number }).version;

  it('leaves nothing stale when 10,000 are redriven while newer updates flow', async () => {
    config = await configured();
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    const ids = Array.from({ length: 5_000 }, (_, index) => String(index));
    shop.down(true);
    await send([...ids, ...ids].map(shopMessage));
    await lettersLie(office, 10_000);
    shop.down(false);

    const seen = new Map<string, number>();
    const backwards: string[] = [];
    const over = new AbortController();
    let updates = 0;
    const update = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const some = Array.from({ length: 50 }, () => ids[Math.floor(Math.random() * ids.length)] ?? '');
        for (const id of some) shop.versions.set(id, (shop.versions.get(id) ?? 1) + 1);
        await send(some.map(shopMessage), 1_000_000 + updates);
        updates += some.length;
        const texts = await running.app.parts.connections.cache.mget(some.map((id) => `${keys}:shop:${id}`));
        some.forEach((id, index) => {
          const version = versionOf(texts[index]);
          if (version < (seen.get(id) ?? 0)) backwards.push(`${id}: ${version} after ${seen.get(id)}`);
          seen.set(id, Math.max(version, seen.get(id) ?? 0));
        });
      }
    };
    const updating = update();
    const report = await office.redrive({}, { ...atOnce, perSecond: 5_000 });
    over.abort();
    await updating;
    expect(report).toMatchObject({ selected: 10_000, redriven: 10_000, gone: 0, remaining: 0 });
    expect(updates).toBeGreaterThan(500);

    await lettersLie(office, 0);
    const finals = await finalsOf(running, 1, 10_000);
    expect([...new Set([...finals.values()].map(({ state }) => state))].sort()).toEqual([
      'redisCached',
      'superseded',
    ]);
    const superseded = [...finals.values()].filter(({ state }) => state === 'superseded');
    expect(superseded.length).toBeGreaterThanOrEqual(5_000);
    expect(superseded.filter(({ supersededBy }) => supersededBy === '')).toEqual([]);
    await waitFor(async () => (await running.openJobs()) === 0, {
      what: 'the queue to be empty',
      timeoutMs: 60_000,
    });
    const texts = await running.app.parts.connections.cache.mget(ids.map((id) => `${keys}:shop:${id}`));
    const stale = ids.filter((id, index) => versionOf(texts[index]) !== (shop.versions.get(id) ?? 1));
    expect(stale).toEqual([]);
    expect(backwards).toEqual([]);
  });

  it('ends each as the dry run said, when nothing changes in between', async () => {
    const topic = 'changes';
    let isDecoding = false;
    const decode = (message: { value: unknown }) => {
      if (!isDecoding) throw new Error('not yet');
      return JSON.parse(String(message.value)) as {
        serviceId: string;
        id: string;
        version?: number;
        record?: object;
      };
    };
    config = await configured({
      roles: ['worker', 'api'],
      kafka: { brokers: ['127.0.0.1:1'], topics: [{ name: topic, decode }] },
      services: {
        ...shopServices(shop, keys),
        stockService: {
          source: { type: 'inline' },
          key: `${keys}:stock:{id}`,
          version: { from: 'record', field: 'version', kind: 'counter' },
        },
      },
    });
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    const stock = (id: number, version: number): object => ({
      serviceId: 'stockService',
      id,
      record: { version, id },
      version,
    });
    shop.down(true);
    // Two letters a key; some of records that are gone, some that stay broken, some overtaken, inline ones out of order.
    const bodies = [
      ...Array.from({ length: 200 }, (_, id) => shopMessage(id % 100)),
      ...Array.from({ length: 100 }, (_, id) => stock(id % 50, 10 - (id % 7))),
      { serviceId: 'nobody', id: 1 },
      '{"serviceId":',
    ];
    await send(bodies);
    await lettersLie(office, bodies.length);
    isDecoding = true;
    shop.down(false);
    // What came meanwhile: newer stock of the first ids, newer shops that the source has forgotten again.
    for (let id = 0; id < 10; id += 1) shop.versions.set(String(id), 9);
    await send(
      [
        ...Array.from({ length: 10 }, (_, id) => shopMessage(id)),
        ...Array.from({ length: 10 }, (_, id) => stock(id, 50)),
      ],
      5_000,
    );
    await waitFor(
      async () => versionOf(await running.app.parts.connections.cache.get(`${keys}:stock:9`)) === 50,
      {
        what: 'the newer stock',
        timeoutMs: 30_000,
      },
    );
    await waitFor(async () => versionOf(await stored(9)) === 9, {
      what: 'the newer shops',
      timeoutMs: 30_000,
    });
    for (let id = 0; id < 10; id += 1) shop.versions.set(String(id), 5);
    for (let id = 20; id < 25; id += 1) shop.absent.add(String(id));
    for (let id = 30; id < 35; id += 1) shop.broken.add(String(id));

    const rehearsal = await office.rehearse({}, { force: false, perSecond: 0, limit: 1_000_000 });
    expect(rehearsal.forecasts).toHaveLength(bodies.length);
    expect(Object.keys(rehearsal.outcomes).sort()).toEqual([
      'evicted',
      'gaveUp',
      'redisCached',
      'rejected',
      'superseded',
    ]);
    expect(await stored(40)).toBeNull();
    await lettersLie(office, bodies.length);

    await office.redrive({}, atOnce);
    const finals = await finalsOf(running, 1, bodies.length);
    const real = rehearsal.forecasts.map(({ message }) => {
      const row = finals.get(message);
      return [message, row?.state, row?.supersededBy, row?.version, row?.error?.code ?? ''];
    });
    expect(real).toEqual(
      rehearsal.forecasts.map((one) => [one.message, one.state, one.supersededBy, one.version, one.code]),
    );
    // What died again lies there with a higher count, and only that.
    const dead = rehearsal.forecasts.filter(({ state }) => state === 'gaveUp' || state === 'rejected').length;
    await lettersLie(office, dead);
    const { letters } = await office.list({}, 1_000);
    expect(new Set(letters.map(({ redrive }) => redrive))).toEqual(new Set([1]));
  });

  it('brings rejected messages home after the configuration was mended', async () => {
    config = await configured();
    running = await startApp(config);
    await send([
      { serviceId: 'stockService', id: 1, version: 1 },
      { serviceId: 'stockService', id: 2, version: 1 },
    ]);
    await lettersLie(running.app.parts.deadLetters, 2);
    await running.close();

    const stockService = {
      source: { type: 'inline' },
      key: `${keys}:stock:{id}`,
      version: { from: 'record', field: 'version', kind: 'counter' },
    } as const;
    running = await startApp({ ...config, services: { stockService } });
    await send([{ serviceId: 'stockService', id: 2, version: 7 }], 10);
    const cache = running.app.parts.connections.cache;
    await waitFor(async () => (await cache.get(`${keys}:stock:2`)) !== null, {
      what: 'the newer stock',
      timeoutMs: 30_000,
    });
    const office = running.app.parts.deadLetters;
    await office.redrive({ code: 'E_SERVICE_UNKNOWN' }, atOnce);
    await lettersLie(office, 0);
    const finals = await finalsOf(running, 1, 2);
    expect(finals.get('changes-0@0')).toMatchObject({ state: 'redisCached', version: 'counter:1' });
    expect(finals.get('changes-0@1')).toMatchObject({ state: 'superseded', supersededBy: 'changes-0@10' });
    expect(await cache.get(`${keys}:stock:2`)).toContain('"version":7');
    const rows = await running.rows();
    expect(rows.filter(({ state }) => state === 'redriven')).toMatchObject([
      { message: 'changes-0@0', redrive: 1, execution: 0, note: 'redriven by ann: the source is mended' },
      { message: 'changes-0@1', redrive: 1, execution: 0, note: 'redriven by ann: the source is mended' },
    ]);
  });

  it('redrives one change of a message that a decoder split, and not its brothers', async () => {
    config = await configured({
      roles: ['worker', 'api'],
      kafka: {
        brokers: ['127.0.0.1:1'],
        topics: [
          {
            name: 'changes',
            decode: ({ value }) =>
              (JSON.parse(typeof value === 'string' ? value : '[]') as string[]).map((id) => ({
                serviceId: 'shopInfoService',
                id,
              })),
          },
        ],
      },
    });
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    shop.broken.add('b').add('c');
    await send(['["a","b","c"]']);
    await lettersLie(office, 2);
    shop.broken.clear();
    await office.redrive({ message: 'changes-0@0#1' }, atOnce);
    await lettersLie(office, 1);
    await office.redrive({ message: 'changes-0@0' }, atOnce);
    await lettersLie(office, 0);
    const finals = await finalsOf(running, 1, 2);
    expect([...finals.keys()].sort()).toEqual(['changes-0@0#1', 'changes-0@0#2']);
    expect([await stored('b'), await stored('c')].map(versionOf)).toEqual([1, 1]);
  });

  it('refuses a message that died as often as is allowed, until a person insists', async () => {
    config = await configured({ deadLetters: { maxRedrives: 2 } });
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    shop.broken.add('1');
    await send([shopMessage(1)]);
    for (const redrive of [1, 2]) {
      await lettersLie(office, 1);
      await office.redrive({}, atOnce);
      await finalsOf(running, redrive, 1);
      await waitFor(async () => (await office.list({}, 1)).letters[0]?.redrive === redrive, {
        what: 'the letter of the new run',
        timeoutMs: 30_000,
      });
    }
    await expect(office.redrive({}, atOnce)).rejects.toMatchObject({ code: 'E_REDRIVE_LIMIT' });
    await expect(office.rehearse({}, { force: false, perSecond: 0, limit: 1 })).rejects.toMatchObject({
      code: 'E_REDRIVE_LIMIT',
    });
    // Beside others it is left alone.
    shop.broken.add('2');
    await send([shopMessage(2)], 10);
    await lettersLie(office, 2);
    shop.broken.clear();
    expect(await office.redrive({}, atOnce)).toMatchObject({ selected: 2, redriven: 1, atLimit: 1 });
    await lettersLie(office, 1);
    expect(await office.redrive({}, { ...atOnce, force: true })).toMatchObject({ redriven: 1, atLimit: 0 });
    await lettersLie(office, 0);
    expect(versionOf(await stored(1))).toBe(1);
  });

  it('leaves alone what is still under way, and takes its letter away only at the end', async () => {
    config = await configured();
    running = await startApp(config);
    shop.broken.add('1');
    await send([shopMessage(1)]);
    const { parts } = running.app;
    await lettersLie(parts.deadLetters, 1);
    shop.broken.clear();
    const hold = Promise.withResolvers<void>();
    let isHeld = false;
    const service = parts.services.get('shopInfoService');
    if (service === undefined) throw new Error('no service');
    const { source } = service;
    const held = source.fetchMany.bind(source);
    source.fetchMany = async (requests, signal) => {
      isHeld = true;
      await hold.promise;
      return held(requests, signal);
    };
    await parts.deadLetters.redrive({}, atOnce);
    await waitFor(() => (isHeld ? true : undefined), { what: 'the fetch to begin', timeoutMs: 30_000 });
    expect(await parts.deadLetters.redrive({}, atOnce)).toMatchObject({
      selected: 1,
      redriven: 0,
      underWay: 1,
    });
    expect(await parts.deadLetters.discard({}, { ...author, force: false, limit: 10 })).toMatchObject({
      discarded: 0,
      underWay: 1,
    });
    expect((await parts.deadLetters.list({}, 1)).letters[0]?.redriving).toMatchObject({ by: 'ann' });
    hold.resolve();
    await lettersLie(parts.deadLetters, 0);
    expect((await finalsOf(running, 1, 1)).size).toBe(1);
  });

  const steps = ['before record', 'after record', 'after enqueue', 'before mark', 'after mark'] as const;

  it.each(steps)(
    'loses nothing and does nothing twice when it is killed %s and asked for again',
    async (step) => {
      config = await configured();
      running = await startApp(config);
      const ids = Array.from({ length: 20 }, (_, index) => String(index));
      shop.down(true);
      await send(ids.map(shopMessage));
      await lettersLie(running.app.parts.deadLetters, ids.length);
      shop.down(false);
      await running.close();

      // Nobody works meanwhile, so that what was enqueued twice would be seen.
      running = await startApp({ ...config, roles: ['api'] });
      const { parts } = running.app;
      class Killed extends Error {}
      const die = (at: (typeof steps)[number]): void => {
        if (at === step) throw new Killed();
      };
      const dying = officeOver(parts, {
        queue: {
          async enqueue(chunks) {
            await parts.queue.enqueue(chunks);
            die('after enqueue');
          },
        },
        box: (real): DeadLetterBox => ({
          ...real,
          async record(entries) {
            die('before record');
            await real.record(entries);
            die('after record');
          },
          async mark(letters, redriving) {
            die('before mark');
            await real.mark(letters, redriving);
            die('after mark');
          },
        }),
      });
      await expect(dying.redrive({}, atOnce)).rejects.toThrow(Killed);
      await lettersLie(parts.deadLetters, ids.length);
      await parts.deadLetters.redrive({}, atOnce);
      await parts.deadLetters.redrive({}, { ...atOnce, force: true });
      await lettersLie(parts.deadLetters, ids.length);
      expect(await running.openJobs()).toBe(1);
      await running.close();

      running = await startApp(config);
      await lettersLie(running.app.parts.deadLetters, 0);
      const finals = await finalsOf(running, 1, ids.length);
      expect(new Set([...finals.values()].map(({ state }) => state))).toEqual(new Set(['redisCached']));
      const rows = (await running.rows()).filter(({ redrive }) => redrive === 1);
      expect(rows.filter(({ execution }) => execution > 0)).toHaveLength(ids.length);
      // Each asking is on record, also the one that was killed.
      const asked = rows.filter(({ state }) => state === 'redriven').map(({ message }) => message);
      expect(new Set(asked).size).toBe(ids.length);
    },
  );

  it('is bounded in its rate, and an interrupt leaves the rest for the next call', async () => {
    config = await configured();
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    shop.down(true);
    await send(Array.from({ length: 30 }, (_, id) => shopMessage(id)));
    await lettersLie(office, 30);
    shop.down(false);
    const interrupt = new AbortController();
    const startedMs = performance.now();
    const report = await office.redrive(
      {},
      {
        ...atOnce,
        perSecond: 10,
        signal: interrupt.signal,
        onProgress: (done) => {
          if (done >= 20) interrupt.abort();
        },
      },
    );
    expect(performance.now() - startedMs).toBeGreaterThan(900);
    expect(report).toMatchObject({ redriven: 20, remaining: 10, isInterrupted: true });
    await lettersLie(office, 10);
    await office.redrive({}, atOnce);
    await lettersLie(office, 0);
  });

  it('discards on record, with who and why', async () => {
    config = await configured();
    running = await startApp(config);
    const office = running.app.parts.deadLetters;
    await send(['nonsense', 'more nonsense', shopMessage(1)]);
    await lettersLie(office, 2);
    expect(
      await office.discard(
        { message: 'changes-0@1' },
        { by: 'ann', reason: 'a test', force: false, limit: 10 },
      ),
    ).toEqual({ selected: 1, discarded: 1, underWay: 0, gone: 0, remaining: 0 });
    await lettersLie(office, 1);
    const [row] = await waitFor(
      async () => {
        const rows = (await running.rows()).filter(({ state }) => state === 'discarded');
        return rows.length > 0 ? rows : undefined;
      },
      { what: 'the discard on record', timeoutMs: 30_000 },
    );
    expect(row).toMatchObject({
      message: 'changes-0@1',
      redrive: 0,
      note: 'discarded by ann: a test',
      error: { code: 'E_MESSAGE_NOT_JSON' },
    });
  });
});
