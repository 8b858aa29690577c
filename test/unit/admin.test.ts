import { expect, it } from 'vitest';
import { adminMessages, adminStream } from '../../src/ingest/admin.ts';
import { createHarness } from '../../src/testing.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { aService } from '../support/service.ts';

it.each([
  ['', 'admin:no-reason-given'],
  ['  !! ', 'admin:no-reason-given'],
  ['prices were wrong', 'admin:prices-were-wrong'],
  ['a|b@c: д', 'admin:a-b-c'],
  ['x'.repeat(100), `admin:${'x'.repeat(40)}`],
])('the reason %j stands in the name of the stream', (reason, stream) => {
  expect(adminStream(reason)).toBe(stream);
});

it('an operator’s messages have rising places, and name service, id and operation', () => {
  let place = 0;
  const service = aService({ id: 'shopInfoService', inline: false });
  const request = { action: 'evict', ids: ['1', 'two'], reason: 'why' } as const;
  const messages = adminMessages(service, request, 12.5, () => String((place += 1)));
  expect(messages.map(({ origin }) => origin)).toEqual([
    { stream: 'admin:why', epoch: 0, position: '1' },
    { stream: 'admin:why', epoch: 0, position: '2' },
  ]);
  expect(messages.map(({ value }) => value)).toEqual([
    '{"serviceId":"shopInfoService","id":"1","op":"delete","reason":"why"}',
    '{"serviceId":"shopInfoService","id":"two","op":"delete","reason":"why"}',
  ]);
});

it('the configuration warns of fetched services whose versions are not on their records, unless readers leave the source alone', () => {
  const service = {
    source: { type: 'http', url: 'http://127.0.0.1:9000/shops/{id}' },
    version: { from: 'header', field: 'version', kind: 'counter' },
  } as const;
  const { warnings } = resolveConfig({
    input: {
      services: {
        warned: { ...service, key: 'warned:{id}' },
        silent: { ...service, key: 'silent:{id}', read: { fromSource: false } },
        fine: { ...service, key: 'fine:{id}', version: { from: 'record', field: 'v', kind: 'counter' } },
      },
    },
    env: {},
  });
  expect(warnings).toEqual([expect.stringContaining('services.warned')]);
});

it('readers of the harness are served from the recorded source too, and keep what they read', async () => {
  const harness = createHarness({
    services: {
      shopInfoService: {
        source: { type: 'http', url: 'http://127.0.0.1:9000/shops/{id}' },
        key: 'shop_info_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
    },
    records: { shopInfoService: { 300: { version: 7 } } },
  });
  expect(await harness.get('shopInfoService', 300)).toMatchObject({ tier: 'source', version: 'counter:7' });
  expect(await harness.get('shopInfoService', 300)).toMatchObject({ tier: 'local' });
  expect(await harness.redis.get('shop_info_300')).toBe('{"version":7}');
  expect(await harness.get('shopInfoService', 301)).toBeUndefined();
  await harness.close();
});
