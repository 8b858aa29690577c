/**
 * A service process of the chaos suite: what `cachewright start` runs, with traps between ports and their users.
 *
 *     node test/chaos/instance.ts CONFIG.json LEDGER [PLANT]
 */
import { readFileSync } from 'node:fs';
import { createApp } from '../../src/app/app.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import { PLANTS, plantWraps } from './plants.ts';
import { createTraps, type InstanceOrder } from './traps.ts';
import { wrapAll } from './wrap-all.ts';

const [configFile = '', ledger = '', plantName = ''] = process.argv.slice(2);
const input = JSON.parse(readFileSync(configFile, 'utf8')) as ConfigInput;
const { config } = resolveConfig({ input, env: {} });
const plant = PLANTS.find((name) => name === plantName);
const traps = createTraps(ledger);
const planted = plant === undefined ? [] : [plantWraps(plant, config.redis.url)];
const app = createApp(config, { wraps: wrapAll([...planted, traps.wraps]) });

process.on('message', (order: InstanceOrder) => {
  if (order.kind === 'arm') traps.arm(order);
  else hog();
});
process.once('SIGTERM', () => {
  void app.close().then(() => process.exit(0));
});

await app.start();
traps.watch(app.parts.coherence);
process.send?.({ instance: app.parts.instance, url: app.url, pid: process.pid });

/** What a leak does in days: objects that stay, until the heap is full. */
function hog(): void {
  const kept: object[] = [];
  for (;;) kept.push(Array.from({ length: 1_000 }, (_, index) => ({ index, text: `kept ${index}` })));
}
