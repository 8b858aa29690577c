import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConfigInput } from 'cachewright';
import { createHarness } from 'cachewright/testing';

const file = join(import.meta.dirname, '../cachewright.config.json');
const { services = {} }: ConfigInput = JSON.parse(readFileSync(file, 'utf8'));
const change = (id: number) => ({ serviceId: 'stockService', id });

await test('versions beyond 2^53 keep their digits, and the higher one stays', async () => {
  const harness = createHarness({ services });
  const higher = '{"id":2,"quantity":0,"version":9007199254740993}';
  const lower = '{"id":2,"quantity":5,"version":9007199254740992}';
  harness.sources.set('stockService', 2, higher, '9007199254740993');
  await harness.send(change(2));
  harness.sources.set('stockService', 2, lower, '9007199254740992');
  const [late = ''] = await harness.send(change(2));
  assert.equal((await harness.states(late)).at(-1), 'superseded');
  assert.equal(await harness.redis.get('stock_2'), higher);
  assert.equal((await harness.get('stockService', 2))?.version, 'counter:9007199254740993');
  await harness.close();
});

await test('a row that is gone is evicted', async () => {
  const harness = createHarness({ services, records: { stockService: { 1: { id: 1, version: 3 } } } });
  await harness.send(change(1));
  assert.equal(await harness.redis.get('stock_1'), '{"id":1,"version":3}');
  harness.sources.set('stockService', 1, null);
  const [message = ''] = await harness.send(change(1));
  assert.equal((await harness.states(message)).at(-1), 'evicted');
  assert.equal(await harness.redis.get('stock_1'), null);
  await harness.close();
});
