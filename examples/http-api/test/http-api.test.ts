import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHarness } from 'cachewright/testing';
import config from '../cachewright.config.ts';

const { services = {} } = config;
const change = (id: number) => ({ serviceId: 'shopInfoService', id });
const corner = { id: 300, name: 'Corner', goodCommentRate: 0.99, version: 7 };

await test('the changes of one chunk are fetched together; a shop that is gone is evicted', async () => {
  const harness = createHarness({ services, records: { shopInfoService: { 300: corner } } });
  const [there = '', gone = ''] = await harness.send([change(300), change(999)]);
  assert.deepEqual(harness.sources.fetches, [{ service: 'shopInfoService', ids: ['300', '999'] }]);
  assert.equal((await harness.states(there)).at(-1), 'redisCached');
  assert.equal((await harness.states(gone)).at(-1), 'evicted');
  assert.equal(await harness.redis.get('shop_info_300'), JSON.stringify(corner));
  await harness.close();
});

await test('a source that fails twice is asked a third time', async () => {
  const harness = createHarness({ services, records: { shopInfoService: { 300: corner } } });
  harness.sources.fail('shopInfoService', 300, 2);
  const [message = ''] = await harness.send(change(300));
  assert.equal(await harness.redis.get('shop_info_300'), null);
  await harness.settle();
  const trail = await harness.trail(message);
  assert.deepEqual(
    trail.map(({ state, attempts }) => [state, attempts]),
    [
      ['parsed', 1],
      ['parsed', 2],
      ['redisCached', 2],
    ],
  );
  await harness.close();
});

await test('an error that the source answers with 200 never reaches a cache', async () => {
  const harness = createHarness({ services, records: { shopInfoService: { 300: corner } } });
  await harness.send(change(300));
  harness.sources.set('shopInfoService', 300, { error: 'database is away' });
  const [message = ''] = await harness.send(change(300));
  await harness.settle();
  assert.equal((await harness.trail(message)).at(-1)?.error?.code, 'E_RECORD_INVALID');
  assert.equal(await harness.redis.get('shop_info_300'), JSON.stringify(corner));
  await harness.close();
});
