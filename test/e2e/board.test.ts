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
  /** What our pages named. */
  const asked: string[] = [];
  /** What the browser really tried to reach beyond the loopback, for our pages or for its maker. */
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
    page.on('request', (request) => asked.push(request.url()));
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
    const href = (await page.locator('a[href*=".2-4"]').first().getAttribute('href')) ?? '';
    const job = /[^/]+\.2-4(?=\?)/.exec(href)?.[0] ?? '';
    expect(decodeURIComponent(job)).toContain(topic);
    const queue = `${running.url}/queues/api/queues/changes`;
    const before = await (await fetch(`${queue}/${job}`)).text();
    expect(before).toContain('shopInfoService');
    for (const [method, actions] of Object.entries(actionsOn(job))) {
      for (const action of actions) {
        const headers = { 'content-type': 'application/json' };
        const { status } = await fetch(`${queue}/${action}`, { method, headers, body: ANY_BODY });
        // Some look at what is sent first, and find fault with it.
        expect({ action, isRefused: status === 405 || status === 400 }).toEqual({ action, isRefused: true });
      }
    }
    expect(await (await fetch(`${queue}/${job}`)).text()).toBe(before);
    expect(await running.openJobs()).toBe(1);
  });

  it('asks for nothing beyond the loopback', () => {
    const hosts = new Set(asked.map((url) => new URL(url).host));
    // bull-board's page names a host of fonts; the browser is told not to ask there.
    expect([...hosts].filter((host) => host !== new URL(running.url).host)).toEqual(['fonts.googleapis.com']);
    expect(wanted.filter((target) => /fonts|gstatic/.test(target))).toEqual([]);
  });

  it('would have been seen asking: another page, without our headers, is', async () => {
    await page.setContent('<link rel="stylesheet" href="https://fonts.googleapis.com/css2?family=IBM+Plex">');
    await waitFor(() => wanted.includes('fonts.googleapis.com:443'), { what: 'the gate to be asked' });
  });
});

const ANY_BODY = JSON.stringify({
  name: 'x',
  data: {},
  jobData: {},
  options: {},
  delay: 0,
  priority: 1,
  concurrency: 1,
  max: 1,
  duration: 1_000,
});

/** Everything bull-board can do to a job or a queue, by method. */
function actionsOn(job: string): Readonly<Record<string, readonly string[]>> {
  const onJob = ['retry', 'clean', 'promote', 'remove-unprocessed-children'];
  const onQueue =
    'retry/failed promote clean/delayed pause resume concurrency rate-limit rate-limit/release empty obliterate job-schedulers/any/remove';
  return {
    PUT: [...onJob.map((action) => `${job}/${action}`), ...onQueue.split(' ')],
    PATCH: ['update-data', 'delay', 'priority'].map((action) => `${job}/${action}`),
    POST: ['add'],
  };
}
