import { describe, expect, it } from 'vitest';
import type { Problem } from '../../src/config/draft.ts';
import { resolveConfig, type ResolveOptions } from '../../src/config/resolve.ts';
import { CachewrightError } from '../../src/core/errors.ts';

const inline = { source: { type: 'inline' }, key: 'a_{id}', version: { from: 'offset' } };
const http = (source: object): object => ({
  services: { a: { ...inline, source: { type: 'http', ...source } } },
});
const version = (rule: object): object => ({ services: { a: { ...inline, version: rule } } });

const parse = (json: string): object => JSON.parse(json);

/** Whatever a file may hold, typed or not. */
function problemsOf(input: object, options: Omit<ResolveOptions, 'input'> = {}): readonly Problem[] {
  try {
    resolveConfig({ input, env: {}, cwd: '/srv', label: 'file c.json', ...options });
    return [];
  } catch (thrown) {
    if (!(thrown instanceof CachewrightError)) throw thrown;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- details are open; every problem error has this list
    return thrown.details['list'] as readonly Problem[];
  }
}

describe('a problem', () => {
  it('has a path, a value, a source and what is allowed', () => {
    expect(problemsOf({ http: { port: 70_000 } })).toEqual([
      {
        path: 'http.port',
        value: '70000',
        source: 'file c.json',
        message: 'allowed is a whole number from 0 to 65,535',
      },
    ]);
  });

  it('names the variable or the flag it came by', () => {
    const [byEnv] = problemsOf({}, { env: { CACHEWRIGHT_QUEUE_CONCURRENCY: 'many' } });
    expect(byEnv).toMatchObject({
      path: 'queue.concurrency',
      value: '"many"',
      source: 'env CACHEWRIGHT_QUEUE_CONCURRENCY',
    });
    const [byFlag] = problemsOf({}, { flags: { roles: 'ingest,boss' } });
    expect(byFlag).toMatchObject({ path: 'roles[1]', value: '"boss"', source: 'flag --roles' });
  });

  it('is told together with all others, between options and of single values alike', () => {
    const problems = problemsOf(
      {
        kafka: { broker: ['a:1'], topics: ['t'] },
        http: { host: '0.0.0.0', port: -1 },
        queue: { lockMs: '6s' },
        services: {
          a: { ...inline, source: { type: 'http', url: 'http://h/{id}', timeout: 1 } },
          b: {
            ...inline,
            key: 'a_b_{id}',
            version: { from: 'record', field: 'v', kind: 'counter', missing: 'timestamp' },
          },
        },
        log: { level: 'loud' },
      },
      { env: { CACHEWRIGHT_HTPP_PORT: '1' } },
    );
    expect(problems.map(({ path }) => path).toSorted()).toEqual([
      'CACHEWRIGHT_HTPP_PORT',
      'http.host',
      'http.port',
      'kafka.broker',
      'kafka.brokers',
      'log.level',
      'queue.lockMs',
      'services.a.source.timeout',
      'services.b.key',
      'services.b.version.missing',
    ]);
  });

  it('fills the message of the one error that is thrown', () => {
    expect(() => resolveConfig({ input: { http: { port: 70_000 } }, env: {}, label: 'file c.json' })).toThrow(
      'The configuration has 1 problem(s).\n  http.port = 70000 (file c.json): allowed is a whole number from 0 to 65,535',
    );
  });
});

describe('an unknown option', () => {
  it.each([
    [{ htpp: {} }, 'htpp', 'http'],
    [{ kafka: { brokers: ['a:1'], topics: ['t'], groupID: 'x' } }, 'kafka.groupID', 'groupId'],
    [http({ url: 'http://h/{id}', timeout: 1 }), 'services.a.source.timeout', 'timeoutMs'],
    [
      { kafka: { brokers: ['a:1'], topics: [{ name: 't', nulValue: 'delete' }] } },
      'kafka.topics[0].nulValue',
      'nullValue',
    ],
  ])('%j is a problem with a guess', (input, path, guess) => {
    const [problem] = problemsOf(input);
    expect(problem?.path).toBe(path);
    expect(problem?.message).toContain(`Did you mean ${guess}?`);
  });

  it('gets no guess when nothing is near', () => {
    expect(problemsOf({ elephants: 3 })[0]?.message).not.toContain('Did you mean');
  });

  it('does not show its value, which may be a misspelt password', () => {
    const sasl = { mechanism: 'plain', username: 'u', pasword: 'hunter2' };
    const problems = problemsOf({ kafka: { brokers: ['a:1'], topics: ['t'], sasl } });
    expect(JSON.stringify(problems)).not.toContain('hunter2');
  });

  it.each(['__proto__', 'constructor', 'toString'])('named %s harms nobody', (name) => {
    const [problem] = problemsOf(parse(`{ "http": { "${name}": { "port": 1 } } }`));
    expect(problem?.path).toBe(`http.${name}`);
    expect(Object.hasOwn(Object.prototype, 'port')).toBe(false);
  });
});

describe('a secret', () => {
  it.each([
    [{ redis: { url: 'redis//user:hunter2@h' } }],
    [{ redis: { url: 'redis://user:hun/ter2@h' } }],
    [{ redis: { url: 'http://user:hunter2@h' } }],
    [http({ url: 'http://h/{id}', headers: { authorization: 'hunter2\r\nx: y' } })],
    [{ http: { tokens: ['hunter2'] } }],
    [
      {
        services: { a: { ...inline, source: { type: 'postgres', url: 'mysql://u:hunter2@h', query: '$1' } } },
      },
    ],
  ])('is not shown in the problem of %#', (input) => {
    const problems = problemsOf(input);
    expect(problems).toHaveLength(1);
    expect(JSON.stringify(problems)).not.toMatch(/hunter2|ter2/);
  });

  it('that refers to a missing variable is one problem, which names it', () => {
    const problems = problemsOf(
      http({ url: 'http://h/{id}', headers: { authorization: { env: 'SHOP_TOKEN' } } }),
    );
    expect(problems).toEqual([
      {
        path: 'services.a.source.headers.authorization',
        value: '{"env":"SHOP_TOKEN"}',
        source: 'file c.json',
        message: 'the environment variable SHOP_TOKEN is not set',
      },
    ]);
  });

  it.each([[{ env: 1 }], [{ enw: 'X' }], [{ env: 'A', file: 'b' }], [''], [null]])(
    'given as %j is a problem',
    (url) => {
      expect(problemsOf({ redis: { url } })[0]).toMatchObject({ path: 'redis.url' });
    },
  );
});

describe('a value that is wrong in itself', () => {
  it.each([
    ['kafka.brokers[0]', { kafka: { brokers: ['localhost'], topics: ['t'] } }],
    ['kafka.topics', { kafka: { brokers: ['a:1'] } }],
    ['kafka.topics', { kafka: { brokers: ['a:1'], topics: [] } }],
    ['kafka.topics[0]', { kafka: { brokers: ['a:1'], topics: ['a b'] } }],
    ['kafka.topics[0].id', { kafka: { brokers: ['a:1'], topics: [{ name: 't', id: 'after' }] } }],
    ['kafka.topics[0].id[1]', { kafka: { brokers: ['a:1'], topics: [{ name: 't', id: ['/a', 'b'] }] } }],
    ['kafka.zookeeper', { kafka: { zookeeper: 'localhost', topics: ['t'] } }],
    ['kafka.ssl', { kafka: { brokers: ['a:1'], topics: ['t'], ssl: 'yes' } }],
    ['redis.url', { redis: { url: 'redis://a,b' } }],
    ['redis.url', { redis: { url: 'redis+cluster://a,b/3' } }],
    ['queue.prefix', { queue: { prefix: '{x}' } }],
    ['audit.url', { audit: { url: 'postgres://h/db' } }],
    ['audit.url', { audit: { url: 'sqlite::memory:' } }],
    ['http.port', { http: { port: '8080' } }],
    ['limits', { limits: null }],
    ['roles', { roles: [] }],
    ['services["a b"]', { services: { 'a b': inline } }],
    ['services.a.source', { services: { a: { key: 'a_{id}', version: { from: 'offset' } } } }],
    ['services.a.source.type', { services: { a: { ...inline, source: { type: 'htp' } } } }],
    ['services.a.key', { services: { a: { ...inline, key: 'a' } } }],
    ['services.a.key', { services: { a: { ...inline, key: '{x}_{id}' } } }],
    ['services.a.version', { services: { a: { source: { type: 'inline' }, key: 'a_{id}' } } }],
    ['services.a.version.field', version({ from: 'record', kind: 'counter' })],
    ['services.a.version.field', version({ from: 'record', field: '/a~2', kind: 'counter' })],
    ['services.a.version.field', version({ from: 'offset', field: 'x' })],
    [
      'services.a.version.timezone',
      version({ from: 'record', field: 'v', kind: 'time', timezone: 'Mars/Olympus' }),
    ],
    ['services.a.source.url', http({ url: 'http://h/shops' })],
    ['services.a.source.url', http({ url: 'http://h/shops/x{id}' })],
    ['services.a.source.url', http({ url: 'http://{id}/shops' })],
    ['services.a.source.url', http({ url: 'http://h.{id}.org/{id}' })],
    ['services.a.source.url', http({ url: 'http://u:p@h/{id}' })],
    ['services.a.source.url', http({ url: 'http://h/{shop}/{id}' })],
    ['services.a.source.url', http({ url: 'http://h/#{id}' })],
    ['services.a.source.url', http({ url: 'file:///etc/{id}' })],
    ['services.a.source.batch.url', http({ url: 'http://h/{id}', batch: { url: 'http://h/{id}' } })],
    ['services.a.source.headers["a b"]', http({ url: 'http://h/{id}', headers: { 'a b': 'x' } })],
    [
      'services.a.source.query',
      {
        services: {
          a: { ...inline, source: { type: 'postgres', url: 'postgres://h/d', query: 'select $10' } },
        },
      },
    ],
    ['services.a.record', { services: { a: { ...inline, record: 3 } } }],
    ['services.a.record', { services: { a: { ...inline, record: 'no-such-file.json' } } }],
  ])('%s', (path, input) => {
    expect(problemsOf(input).map((problem) => problem.path)).toEqual([path]);
  });

  it('is refused when the whole is no object', () => {
    expect(problemsOf([])).toHaveLength(1);
  });
});

describe('a rule between options', () => {
  const rule = { from: 'record', field: 'v', kind: 'counter' };
  it.each([
    ['kafka.brokers', { kafka: { topics: ['t'] } }],
    [
      'kafka.deadLetters.topic',
      { kafka: { brokers: ['a:1'], topics: ['t', 't.dlq'], deadLetters: { topic: '{topic}.dlq' } } },
    ],
    [
      'kafka.deadLetters.topic',
      { kafka: { brokers: ['a:1'], topics: ['t'], deadLetters: { topic: '{tpic}' } } },
    ],
    ['kafka.heartbeatMs', { kafka: { brokers: ['a:1'], topics: ['t'], heartbeatMs: '4s' } }],
    ['kafka.topics[1]', { kafka: { brokers: ['a:1'], topics: ['t', { name: 't' }] } }],
    [
      'kafka.topics[0].service',
      { kafka: { brokers: ['a:1'], topics: [{ name: 't', service: 'b' }] }, services: { a: inline } },
    ],
    [
      'kafka.topics[0].nullValue',
      { kafka: { brokers: ['a:1'], topics: [{ name: 't', nullValue: 'delete' }] } },
    ],
    ['queue.lockMs', { queue: { lockMs: '5s', stalledIntervalMs: '4s' } }],
    ['queue.lowWaterJobs', { queue: { lowWaterJobs: 10, highWaterJobs: 10 } }],
    ['queue.lowWaterBytes', { queue: { highWaterBytes: 2048 } }],
    ['services.a.version.missing', version({ ...rule, missing: 'timestamp' })],
    ['services.a.version.timezone', version({ ...rule, timezone: 'Europe/Berlin' })],
    ['services.a.source.timeoutMs', http({ url: 'http://h/{id}', timeoutMs: '20s' })],
    ['services.a.source.fetch', { services: { a: { ...inline, source: { type: 'function' } } } }],
    ['services.a.retry.initialMs', { services: { a: { ...inline, retry: { initialMs: '2m' } } } }],
    ['services.a.fenceTtlMs', { services: { a: { ...inline, ttlMs: '1m', fenceTtlMs: '1m' } } }],
    ['services.b.key', { services: { a: inline, b: inline } }],
    [
      'services.b.key',
      { services: { a: { ...inline, key: 'product_{id}' }, b: { ...inline, key: 'product_info_{id}' } } },
    ],
  ])('%s', (path, input) => {
    expect(problemsOf(input).map((problem) => problem.path)).toEqual([path]);
  });

  it('stays silent where one of its options is wrong in itself', () => {
    const problems = problemsOf({ queue: { lockMs: 'long', stalledIntervalMs: '7s' } });
    expect(problems.map(({ path }) => path)).toEqual(['queue.lockMs']);
  });

  it('keeps apart keys with a separator that no id holds', () => {
    const services = { a: { ...inline, key: 'product:{id}' }, b: { ...inline, key: 'product:info:{id}' } };
    expect(problemsOf({ services })).toEqual([]);
  });
});

describe('a host that others can reach', () => {
  it.each(['0.0.0.0', '::', '192.168.1.7', 'example.org'])('%s needs tokens', (host) => {
    expect(() => resolveConfig({ input: { http: { host } }, env: {} })).toThrow(
      expect.objectContaining({ code: 'E_HOST_UNPROTECTED' }),
    );
    expect(problemsOf({ http: { host, tokens: ['0123456789'] } })).toEqual([]);
  });

  it.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1'])('%s is none', (host) => {
    expect(problemsOf({ http: { host } })).toEqual([]);
  });
});
