import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freePort } from '../../test/support/servers/process.ts';
import type { Ending } from './ending.ts';
import { dim, green, headline, print, progress, red } from './screen.ts';
import type { Sender } from './send.ts';
import { startService } from './service.ts';
import type { Stage } from './stage.ts';

const SERVICE = 'productInfoService';
const ID = 777;
const DEADLINE_MS = 20_000;

/** An instance of the fleet, and when it first served the change. */
interface Arrival {
  readonly name: string;
  readonly roles: string;
  readonly tier: string;
  readonly ms: number;
}

/**
 * One change, and when each of several instances serves it from its own memory. The first does all the work; the others
 * have the role `api` only, and hear of it from the invalidation log.
 *
 * @returns what went otherwise than expected; '' when nothing did
 */
export async function showInstances(
  count: number,
  { stage, sender, ending }: { stage: Stage; sender: Sender; ending: Ending },
): Promise<string> {
  headline(`One change, ${count} local tiers`);
  const others = await progress(`${count - 1} more instances, which only serve`, () =>
    Promise.all(Array.from({ length: count - 1 }, (_, index) => startServing(stage, index + 2, ending))),
  );
  const urls = [stage.url, ...others];
  await sender.send(productOf(1));
  await Promise.all(urls.map((url) => untilServed(url, 1, performance.now())));
  print(dim(`  every instance holds ${SERVICE} ${ID}, price 1; now its price becomes 2`));

  const sentMs = performance.now();
  const arriving = urls.map((url) => untilServed(url, 2, sentMs));
  await sender.send(productOf(2));
  const arrivals = (await Promise.all(arriving)).map(
    (served, index): Arrival => ({
      ...served,
      name: `instance ${index + 1}`,
      roles: index === 0 ? 'ingest, worker, api' : 'api',
    }),
  );
  for (const { name, roles, tier, ms } of arrivals) {
    print(`  ${name.padEnd(12)} ${`${ms.toFixed(1)} ms`.padStart(9)}  x-cache: ${tier}  ${dim(roles)}`);
  }
  const wrong = arrivals.filter(({ tier }) => tier !== 'local');
  const surprise = wrong
    .map(({ name, tier }) => `${name} served the change from ${tier || 'nowhere'}`)
    .join(', ');
  print(
    surprise === ''
      ? green(`  ✓ from before the send until each served it from its own memory`)
      : red(`  ✗ ${surprise}`),
  );
  return surprise;
}

function productOf(version: number): { readonly key: string; readonly text: string } {
  const modifiedTime = Date.UTC(2026, 0, 1) + version;
  return {
    key: String(ID),
    text: JSON.stringify({ serviceId: SERVICE, id: ID, name: 'Lamp', price: version, modifiedTime }),
  };
}

/** Starts a process with the role `api` only; returns its URL. */
async function startServing({ configFile }: Stage, number: number, ending: Ending): Promise<string> {
  const port = await freePort();
  const config: unknown = JSON.parse(readFileSync(configFile, 'utf8'));
  const file = join(dirname(configFile), `instance-${number}.config.json`);
  writeFileSync(
    file,
    JSON.stringify(Object.assign({}, config, { roles: ['api'], http: { host: '127.0.0.1', port } })),
  );
  const service = await startService(file, () => undefined);
  ending.closeLater(`instance ${number}`, () => service.stop());
  return `http://127.0.0.1:${port}`;
}

/** Asks without a pause until the record has this price, and the local tier had it. */
async function untilServed(
  url: string,
  price: number,
  sinceMs: number,
): Promise<{ readonly tier: string; readonly ms: number }> {
  let tier = '';
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (performance.now() < deadlineMs) {
    const response = await fetch(`${url}/v1/records/${SERVICE}/${ID}`);
    const text = await response.text();
    if (!response.ok || !text.includes(`"price":${price}`)) continue;
    tier = response.headers.get('x-cache') ?? '';
    if (tier === 'local') break;
  }
  return { tier, ms: performance.now() - sinceMs };
}
