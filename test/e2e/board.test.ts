import { createServer, type Server } from 'node:http';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { aConfig, inlineServices, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';

describeWith(['kafka', 'redis', 'chromium'], 'the queue board in a real browser', () => {
  const topic = uniqueName('cache-message');
  /** Hosts beyond the loopback that the browser wanted to reach. */
  const wanted: string[] = [];
  let redis: RedisServer;
  let source: HttpSource;
  let running: RunningApp;
  let gate: Server;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    const kafka = await sharedKafka();
    [redis, source] = await Promise.all([startRedis(), startHttpSource()]);
    await kafka.createTopic(topic);
    running = await startApp(
      aConfig(redis.url, {
        kafka: { brokers: [...kafka.brokers], topics: [topic] },
        services: {
          ...inlineServices,
          shopInfoService: {
            source: { type: 'http', url: `${source.url}/shops/{id}` },
            key: 'shop_info_{id}',
            version: { from: 'record', field: 'version', kind: 'counter' },
            // Long enough to be looked at.
            retry: { initialMs: '10m', maxMs: '10m' },
          },
        },
      }),
    );
    source.setMode('500');
    const producer = await produceTo(kafka.brokers);
    const send = (...texts: string[]): Promise<void> =>
      producer.send(
        topic,
        0,
        texts.map((text) => ({ value: Buffer.from(text) })),
      );
    await send('{"serviceId":"stockService","id":1,"version":1}');
    await waitFor(() => running.finalCount() === 1, { what: 'the first message' });
    await send('{broken');
    await running.deadLetters(1);
    await send(...[300, 301, 302].map((id) => `{"serviceId":"shopInfoService","id":${id}}`));
    await waitFor(() => running.counts['parsed'] === 3, { what: 'the fetches to fail' });
    await producer.close();
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    gate?.close();
    await running?.close();
    await Promise.all([source?.stop(), redis?.stop()]);
  });
  beforeEach(async () => {
    page = await browser.newPage();
    return () => page.close();
  });

  /** Everything but the loopback goes through a proxy that lets nothing pass and remembers what was asked for. */
  async function openBrowser(): Promise<Browser> {
    gate = createServer((request, response) => {
      wanted.push(request.url ?? '');
      response.writeHead(502).end();
    });
    gate.on('connect', (request, socket) => {
      wanted.push(request.url ?? '');
      socket.destroy();
    });
    const port = await listenOnLoopback(gate);
    return chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        `--proxy-server=http://127.0.0.1:${port}`,
      ],
    });
  }

  /** The text of a queue's page, with all of its JSON unfolded. */
  async function open(queue: string, status: string, expected: string): Promise<string> {
    await page.goto(`${running.url}/queues/queue/${queue}?status=${status}`);
    await page.getByText(expected).first().waitFor();
    const folded = page.getByRole('button', { name: 'expand JSON' });
    while ((await folded.count()) > 0) await folded.first().click();
    return page.locator('main').innerText();
  }
  const unspaced = (text: string): string => text.replaceAll(/\s+/g, '');

  it('shows a chunk that waits: its range in its name, its messages and their states as readable JSON', async () => {
    const text = unspaced(await open('changes', 'delayed', `${topic}/0 2–4`));
    for (const [offset, id] of [
      [2, 300],
      [3, 301],
      [4, 302],
    ]) {
      expect(text).toContain(`message:"${topic}-0@${offset}"`);
      expect(text).toContain(`value:{serviceId:"shopInfoService",id:${id}}`);
    }
    expect(text.match(/state:"parsed"/g)?.length).toBeGreaterThanOrEqual(3);
    expect(text).toContain('attempts:1');
    expect(text).toContain('error:"E_FETCH_FAILED"');
  });

  it('shows why that job is tried again', async () => {
    await open('changes', 'delayed', `${topic}/0 2–4`);
    await page.getByRole('tab', { name: 'Error' }).click();
    await page.getByText(/E_FETCH_FAILED: The source of shopInfoService failed/).waitFor();
  });

  it('shows a finished chunk with what became of its messages', async () => {
    const text = unspaced(await open('changes', 'completed', `${topic}/0 0`));
    expect(text).toContain('states:{redisCached:1}');
    expect(text).toContain('services:{stockService:1}');
  });

  it('shows a dead letter with its bytes, its reason and what to do', async () => {
    const text = await open('dead-letters', 'waiting', `E_MESSAGE_NOT_JSON ${topic}-0@1`);
    expect(unspaced(text)).toContain('value:"{broken"');
    expect(text).toContain('Send one JSON object per message.');
  });

  it('offers no button that changes anything, and takes no request that would', async () => {
    await open('changes', 'delayed', `${topic}/0 2–4`);
    const buttons = await page
      .locator('button')
      .evaluateAll((all) =>
        all.map(({ title, ariaLabel, textContent }) => `${title} ${ariaLabel} ${textContent}`),
      );
    expect(buttons.length).toBeGreaterThan(5);
    expect(buttons.join('\n')).not.toMatch(
      /retry|promote|clean|remove|delete|pause|empty|duplicate|add|edit/i,
    );
    const [job = ''] =
      /[^/]+\.2-4(?=\?)/.exec((await page.locator('a[href*=".2-4"]').first().getAttribute('href')) ?? '') ??
      [];
    expect(decodeURIComponent(job)).toContain(topic);
    for (const action of [
      `${job}/retry/delayed`,
      `${job}/promote`,
      `${job}/clean`,
      'pause',
      'empty',
      'obliterate',
    ]) {
      const { status } = await fetch(`${running.url}/queues/api/queues/changes/${action}`, { method: 'PUT' });
      expect(`${action} ${status}`).toBe(`${action} 405`);
    }
    expect(await running.openJobs()).toBe(1);
  });

  it('asked for nothing beyond the loopback', () => {
    expect(wanted).toEqual([]);
  });

  it('would have been seen asking: the gate is there', async () => {
    await page.goto('http://beyond.invalid/').catch(() => undefined);
    expect(wanted).toContain('http://beyond.invalid/');
  });
});
