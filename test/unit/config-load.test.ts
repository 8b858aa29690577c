import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { environmentNames } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { configShape, resolveConfig } from '../../src/config/resolve.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cachewright-config-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const write = (name: string, content: string): void => writeFileSync(join(dir, name), content);
const load = (options: Parameters<typeof loadConfig>[0] = {}) =>
  loadConfig({ cwd: dir, env: {}, ...options });
const service = `{ "source": { "type": "inline" }, "key": "a_{id}", "version": { "from": "offset" } }`;

describe('the configuration file', () => {
  it.each([
    ['cachewright.config.json', '{ "$schema": "x", "http": { "port": 7 } }'],
    ['cachewright.config.ts', 'const port: number = 7;\nexport const config = { http: { port } };'],
    ['cachewright.config.mjs', 'export default { http: { port: 7 } };'],
  ])('%s is found in the working directory', async (name, content) => {
    write(name, content);
    const { config, sourceOf, file } = await load();
    expect(config.http.port).toBe(7);
    expect(sourceOf(['http', 'port'])).toBe(`file ${name}`);
    expect(file).toBe(join(dir, name));
  });

  it('is not needed', async () => {
    const { config, file } = await load();
    expect(config.http.port).toBe(8080);
    expect(file).toBeUndefined();
  });

  it('is the one that --config names, then the one of CACHEWRIGHT_CONFIG', async () => {
    write('cachewright.config.json', '{ "http": { "port": 1 } }');
    write('a.json', '{ "http": { "port": 2 } }');
    write('b.json', '{ "http": { "port": 3 } }');
    const env = { CACHEWRIGHT_CONFIG: 'a.json' };
    expect((await load({ env })).config.http.port).toBe(2);
    expect((await load({ env, file: 'b.json' })).config.http.port).toBe(3);
  });

  it('that is passed over for another is told of', async () => {
    write('cachewright.config.mjs', 'export default {};');
    write('cachewright.config.json', '{}');
    expect((await load()).warnings).toContain(
      'cachewright.config.json is ignored, since cachewright.config.mjs is there.',
    );
  });

  it.each([
    ['missing.json', undefined, /ENOENT/],
    ['missing.ts', undefined, /there is no such file/],
    ['list.json', '[]', /holds no object/],
    ['empty.mjs', 'export const other = 1;', /neither `default` nor `config`/],
    ['broken.mjs', 'export default {', /./],
  ])('%s is refused', async (name, content, reason) => {
    if (content !== undefined) write(name, content);
    await expect(load({ file: name })).rejects.toMatchObject({
      code: 'E_CONFIG_UNREADABLE',
      details: { file: name, reason: expect.stringMatching(reason) },
    });
  });

  it('that is broken JSON is refused without showing what stands around the fault', async () => {
    write('c.json', '{ "redis": { "url": "redis://:hunter2@h" oops } }');
    const error = await load({ file: 'c.json' }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'E_CONFIG_UNREADABLE' });
    expect(String(error)).not.toContain('hunter2');
    write('d.json', 'hunter2');
    expect(String(await load({ file: 'd.json' }).catch((thrown: unknown) => thrown))).not.toContain(
      'hunter2',
    );
  });
});

describe('files that a configuration refers to', () => {
  it('hold secrets, with paths that begin at the configuration file', async () => {
    write('c.json', '{ "http": { "tokens": [{ "file": "token.txt" }] } }');
    write('token.txt', 'a-token-of-mine\n');
    const { config, sourceOf } = await load({ cwd: tmpdir(), file: join(dir, 'c.json') });
    expect(config.http.tokens).toEqual(['a-token-of-mine']);
    expect(sourceOf(['http', 'tokens', 0])).toMatch(/ → file token\.txt$/);
  });

  it('hold JSON Schemas', async () => {
    write('c.json', `{ "services": { "a": ${service.slice(0, -1)}, "record": "record.json" } } }`);
    write('record.json', '{ "type": "object", "required": ["id"] }');
    const { config } = await load({ file: 'c.json' });
    expect(config.services['a']?.record).toEqual({
      kind: 'json',
      schema: { type: 'object', required: ['id'] },
    });
  });

  it('are problems when they cannot be read or are empty', async () => {
    write(
      'c.json',
      '{ "redis": { "url": { "file": "gone" } }, "http": { "tokens": [{ "file": "empty" }] } }',
    );
    write('empty', '\n');
    await expect(load({ file: 'c.json' })).rejects.toMatchObject({
      code: 'E_CONFIG_INVALID',
      details: {
        list: [
          { path: 'redis.url', message: expect.stringMatching(/^the file gone cannot be read: ENOENT/) },
          { path: 'http.tokens[0]', message: 'the file empty is empty' },
        ],
      },
    });
  });
});

describe('the environment', () => {
  it.each([
    ['CACHEWRIGHT_KAFKA_BROKERS', 'a:1, b:2', (config: Resolved) => config.kafka?.brokers, ['a:1', 'b:2']],
    ['CACHEWRIGHT_KAFKA_GROUP_ID', 'g', (config: Resolved) => config.kafka?.groupId, 'g'],
    ['CACHEWRIGHT_KAFKA_SSL', 'true', (config: Resolved) => config.kafka?.ssl, true],
    ['CACHEWRIGHT_REDIS_CACHE_URL', 'redis://c', (config: Resolved) => config.redis.cache.url, 'redis://c'],
    [
      'CACHEWRIGHT_QUEUE_KEEP_COMPLETED_AGE_MS',
      '2m',
      (config: Resolved) => config.queue.keepCompleted.ageMs,
      120_000,
    ],
    ['CACHEWRIGHT_HTTP_PORT', '0', (config: Resolved) => config.http.port, 0],
    [
      'CACHEWRIGHT_HTTP_TOKENS',
      'one-token-a,one-token-b',
      (config: Resolved) => config.http.tokens,
      ['one-token-a', 'one-token-b'],
    ],
    ['CACHEWRIGHT_LOG_MESSAGES', 'all', (config: Resolved) => config.log.messages, 'all'],
    ['CACHEWRIGHT_ROLES', 'api', (config: Resolved) => config.roles, ['api']],
  ])('sets an option by %s', (name, text, read, value) => {
    const kafka = { brokers: ['x:1'], topics: ['t'] };
    expect(read(resolveConfig({ input: { kafka }, env: { [name]: text } }).config)).toEqual(value);
  });

  it('can make up the whole of Kafka', () => {
    const env = {
      CACHEWRIGHT_KAFKA_BROKERS: 'a:1',
      CACHEWRIGHT_KAFKA_TOPICS: 'one,two',
      CACHEWRIGHT_KAFKA_SSL: 'true',
      CACHEWRIGHT_KAFKA_SSL_REJECT_UNAUTHORIZED: 'false',
      CACHEWRIGHT_KAFKA_SASL_MECHANISM: 'scram-sha-256',
      CACHEWRIGHT_KAFKA_SASL_USERNAME: 'u',
      CACHEWRIGHT_KAFKA_SASL_PASSWORD: 'p',
    };
    const { kafka } = resolveConfig({ env }).config;
    expect(kafka?.topics.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(kafka?.ssl).toMatchObject({ rejectUnauthorized: false, ca: undefined });
    expect(kafka?.sasl).toEqual({ mechanism: 'scram-sha-256', username: 'u', password: 'p' });
  });

  it('names the file of a secret with _FILE, one token a line', () => {
    write('tokens', 'first-token\nsecond-token\n');
    const { config } = resolveConfig({ env: { CACHEWRIGHT_HTTP_TOKENS_FILE: 'tokens' }, cwd: dir });
    expect(config.http.tokens).toEqual(['first-token', 'second-token']);
  });

  it('may not give a secret twice', () => {
    write('url', 'redis://a');
    const env = { CACHEWRIGHT_REDIS_URL: 'redis://b', CACHEWRIGHT_REDIS_URL_FILE: 'url' };
    expect(() => resolveConfig({ env, cwd: dir })).toThrow(/both set/);
  });

  it('takes an empty variable for none', () => {
    expect(
      resolveConfig({ env: { CACHEWRIGHT_HTTP_PORT: '', CACHEWRIGHT_HTTP_POTR: '' } }).config.http.port,
    ).toBe(8080);
  });

  it('refuses a misspelt name, but none that the configuration refers to', () => {
    expect(() => resolveConfig({ env: { CACHEWRIGHT_REDIS_ULR: 'x' } })).toThrow(
      /CACHEWRIGHT_REDIS_ULR \(env\).*Did you mean CACHEWRIGHT_REDIS_URL\?/,
    );
    const env = { CACHEWRIGHT_MY_REDIS: 'redis://mine' };
    expect(
      resolveConfig({ input: { redis: { url: { env: 'CACHEWRIGHT_MY_REDIS' } } }, env }).config.redis.url,
    ).toBe('redis://mine');
  });

  it('has no names for services', () => {
    expect(environmentNames(configShape).filter(({ path }) => path[0] === 'services')).toEqual([]);
  });
});

type Resolved = ReturnType<typeof resolveConfig>['config'];
