import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConfigInput } from 'cachewright';
import { createHarness, type Harness } from 'cachewright/testing';

const read = (name: string): string => readFileSync(join(import.meta.dirname, '..', name), 'utf8');
const { services = {}, kafka }: ConfigInput = JSON.parse(read('cachewright.config.json'));
const topics = kafka?.topics ?? [];
const events = read('events.tsv')
  .trimEnd()
  .split('\n')
  .map((line) => {
    const [key = '', value = ''] = line.split('\t');
    return { key, value: value === 'NULL' ? null : value };
  });

/** Sends the events one by one and returns the states they end in. */
async function send(harness: Harness, some: typeof events): Promise<(string | undefined)[]> {
  const ends: (string | undefined)[] = [];
  for (const { key, value } of some) {
    const [message = ''] = await harness.send([value], { key });
    ends.push((await harness.states(message)).at(-1));
  }
  return ends;
}

await test('rows are cached as they stand in `after`, deletes and tombstones evict', async () => {
  const harness = createHarness({ services, topics });
  const ends = await send(harness, events);
  assert.deepEqual(ends, ['redisCached', 'redisCached', 'redisCached', 'evicted', 'evicted']);
  assert.equal(await harness.redis.get('product_info_200'), '{"id":200,"name":"iphone7","price":5299}');
  assert.equal(await harness.redis.get('product_info_201'), null);
  assert.deepEqual(harness.deadLetters, []);
  await harness.close();
});

await test('events that come once more change nothing', async () => {
  const harness = createHarness({ services, topics });
  await send(harness, events);
  const [create, update, createOfDeleted] = await send(harness, events.slice(0, 3));
  assert.deepEqual([create, update, createOfDeleted], ['superseded', 'redisCached', 'superseded']);
  assert.equal(await harness.redis.get('product_info_200'), '{"id":200,"name":"iphone7","price":5299}');
  assert.equal(await harness.redis.get('product_info_201'), null);
  await harness.close();
});
