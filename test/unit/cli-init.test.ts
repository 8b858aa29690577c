import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Guess, guessFrom, nothingSeen } from '../../src/cli/init-guess.ts';
import { configurationText } from '../../src/cli/init-text.ts';
import { loadConfig } from '../../src/config/load-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'cachewright-init-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const guess = (value: unknown, key: string | null = null, topic = 'products'): Guess =>
  guessFrom(
    topic,
    key === null ? null : Buffer.from(key),
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
  );

const cases = {
  'the original message': guess({
    serviceId: 'productInfoService',
    id: 200,
    name: 'x',
    modifiedTime: '2026-01-01T00:00:00Z',
  }),
  'a thin message': guess({ serviceId: 'shopInfoService', id: 300 }),
  'an event of Debezium': guess(
    {
      payload: {
        op: 'u',
        before: null,
        after: { product_id: 5, name: 'x' },
        source: { lsn: 42, ts_ms: 1767225600000 },
      },
    },
    '{"id":5}',
    'shop.public.products',
  ),
  'a plain object': guess({ sku: 'a-1', updated_at: 1_767_225_600_000 }),
  'an object whose id is the Kafka key': guess({ name: 'x', version: 3 }, '17'),
  'something that is no JSON': guess('\u0000\u0001*/ binary', '17'),
  'a null value': guessFrom('products', null, null),
  'no message': nothingSeen('cache-message'),
} as const satisfies Record<string, Guess>;

describe('a guess from one message', () => {
  it('knows the original form, and takes a message with fields of its own for the record', () => {
    expect(cases['the original message']).toMatchObject({
      form: 'original',
      service: 'productInfoService',
      mapping: undefined,
      source: 'inline',
      version: { from: 'record', field: 'modifiedTime', kind: 'time' },
    });
  });

  it('fetches what a thin message only names', () => {
    expect(cases['a thin message']).toMatchObject({ service: 'shopInfoService', source: 'http' });
  });

  it('points into an event of Debezium', () => {
    expect(cases['an event of Debezium']).toMatchObject({
      form: 'debezium',
      service: 'products',
      mapping: {
        id: '/payload/after/product_id',
        op: '/payload/op',
        record: '/payload/after',
        nullValue: 'delete',
      },
      version: { from: 'message', field: '/payload/source/lsn', kind: 'counter' },
    });
  });

  it('finds id and version of a plain object, or takes the Kafka key', () => {
    expect(cases['a plain object']).toMatchObject({
      mapping: { id: '/sku' },
      version: { field: 'updated_at', kind: 'time' },
    });
    expect(cases['an object whose id is the Kafka key']).toMatchObject({
      mapping: { id: 'key' },
      version: { field: 'version', kind: 'counter' },
    });
  });
});

describe('a written configuration', () => {
  it.each(Object.entries(cases))('made from %s loads without a problem', async (name, guessed) => {
    const file = join(dir, `${name.replaceAll(/\W/g, '-')}.mjs`);
    writeFileSync(file, configurationText(guessed, ['127.0.0.1:9092', '127.0.0.1:9093']));
    const { config } = await loadConfig({ file, env: {}, cwd: dir });
    expect(config.kafka?.brokers).toEqual(['127.0.0.1:9092', '127.0.0.1:9093']);
    expect(config.kafka?.topics.map((topic) => topic.name)).toEqual([guessed.topic]);
    expect(Object.keys(config.services)).toEqual([guessed.service]);
  });

  it('shows the message in a comment that nothing in it can end', () => {
    const text = configurationText(guess('a\nexport default 1;\u2028//'), ['127.0.0.1:9092']);
    const code = text.split('\n').filter((line) => !line.startsWith('//'));
    expect(code.join('\n')).not.toContain('export default 1');
    expect(text).not.toContain('\u2028');
  });
});
