import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConfigInput } from 'cachewright';
import { createHarness } from 'cachewright/testing';

const read = (name: string): string => readFileSync(join(import.meta.dirname, '..', name), 'utf8');
const { services = {} }: ConfigInput = JSON.parse(read('cachewright.config.json'));
const original = read('messages.ndjson').trimEnd();
const sentAt = Date.parse('2026-01-31T10:00:00Z');

await test('the message goes through every state into both tiers, byte for byte', async () => {
  const harness = createHarness({ services });
  const [message = ''] = await harness.send(original);
  assert.deepEqual(await harness.states(message), [
    'received',
    'parsed',
    'fetched',
    'localCached',
    'redisCached',
  ]);
  assert.equal(await harness.redis.get('product_info_200'), original);
  assert.equal(await harness.local.get('product_info_200'), original);
  await harness.close();
});

await test('a message sent before it does not replace it, although it arrives later', async () => {
  const harness = createHarness({ services, startMs: sentAt });
  await harness.send(original, { timestampMs: sentAt });
  const older = original.replace('5599', '4999');
  const [late = ''] = await harness.send(older, { timestampMs: sentAt - 1 });
  assert.equal((await harness.states(late)).at(-1), 'superseded');
  assert.equal(await harness.redis.get('product_info_200'), original);
  await harness.close();
});
