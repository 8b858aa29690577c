import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { aConfig, inlineServices, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { sharedKafka, uniqueName } from '../support/servers/shared.ts';

describeWith(['kafka', 'redis', 'chromium'], 'the queue board in a real browser', () => {
  const topic = uniqueName('cache-message');
  let redis: RedisServer;
  let source: HttpSource;
  let running: RunningApp;
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
    await send('{broken');
    await send(...[300, 301, 302].map((id) => `{"serviceId":"shopInfoService","id":${id}}`));
    await producer.close();
    await waitFor(() => running.counts['parsed'] === 3, { what: 'the fetches to fail' });
    await running.deadLetters(1);
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    });
    page = await browser.newPage();
  });
  afterAll(async () => {
    await browser?.close();
    await running?.close();
    await Promise.all([source?.stop(), redis?.stop()]);
  });

  it('scratch', async () => {
    const urls: string[] = [];
    page.on('request', (r) => urls.push(`${r.method()} ${r.url()}`));
    page.on('console', (m) => console.log('console', m.text()));
    for (const path of [
      '',
      `/queue/changes?status=delayed`,
      `/queue/dead-letters?status=waiting`,
      `/queue/changes?status=completed`,
    ]) {
      await page.goto(`${running.url}/queues${path}`);
      await page.waitForLoadState('networkidle');
      await page.screenshot({ path: `/tmp/board/${encodeURIComponent(path)}.png`, fullPage: true });
      console.log(path, (await page.locator('body').innerText()).slice(0, 3000));
    }
    console.log(urls.join('\n'));
    expect(1).toBe(1);
  });
});
