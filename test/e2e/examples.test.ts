import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startShopsApi } from '../../examples/http-api/shops-api.ts';
import { describeWith } from '../support/needs.ts';
import { bound } from '../support/servers/bound.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { startPostgres } from '../support/servers/postgres.ts';
import { type Child, privateDir, startChild, waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

const ROOT = join(import.meta.dirname, '../..');
const IN_MEMORY = ['seed', 'http-api', 'postgres', 'debezium'];
const run = promisify(execFile);

/** A folder as a user has it: the examples, and the package, compiled, among the installed ones. */
let home: string;

beforeAll(async () => {
  home = privateDir('examples');
  const installed = join(home, 'node_modules/cachewright');
  mkdirSync(installed, { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
  cpSync(join(ROOT, 'examples'), join(home, 'examples'), { recursive: true });
  // The package finds what it depends on beside its files, the examples find zod beside the package.
  symlinkSync(join(ROOT, 'node_modules'), join(installed, 'node_modules'));
  symlinkSync(join(ROOT, 'node_modules/zod'), join(home, 'node_modules/zod'));
  await compile(join(installed, 'dist'));
});

/** Into a folder of its own: another test may be packing the checkout's `dist` at this moment. */
async function compile(outDir: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  try {
    await run(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', outDir]);
  } catch (error) {
    throw new Error(`the package does not compile:\n${outputOf(error)}`, { cause: error });
  }
}

function outputOf(error: unknown): string {
  return error instanceof Error && 'stdout' in error ? String(error.stdout) : '';
}

/** Runs a file with Node's own test runner and returns how many tests passed. */
async function passedIn(example: string, env: Readonly<Record<string, string>> = {}): Promise<number> {
  const file = `examples/${example}/test/${example}.test.ts`;
  const args = ['--test', '--test-reporter=tap', file];
  try {
    const { stdout } = await run(...bound(process.execPath, args), {
      cwd: home,
      env: { ...process.env, ...env },
    });
    expect(stdout).toMatch(/^# fail 0$/m);
    return Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
  } catch (error) {
    throw new Error(`${file} failed:\n${outputOf(error)}`, { cause: error });
  }
}

/** A running `cachewright start` over an example's own configuration, on servers of the test. */
interface Running {
  readonly url: string;
  /** What `redis-cli GET` shows; undefined: (nil). */
  get(key: string): Promise<string | undefined>;
  /** Until a key holds this. */
  holds(key: string, text: string | undefined): Promise<void>;
  /** The states that the messages of a record ended in, oldest first. */
  ends(service: string, id: string): Promise<string[]>;
  /** Another command with the same configuration. */
  cachewright(...args: readonly string[]): Promise<string>;
}

const started: { stop(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (let next = started.pop(); next !== undefined; next = started.pop()) await next.stop();
});

async function start(
  example: string,
  brokers: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const redis = await startRedis();
  started.push(redis);
  const config = configOf(example);
  const env = {
    CACHEWRIGHT_KAFKA_BROKERS: brokers.join(','),
    CACHEWRIGHT_REDIS_URL: redis.url,
    CACHEWRIGHT_AUDIT_URL: `sqlite:${join(privateDir('audit'), 'audit.db')}`,
    CACHEWRIGHT_HTTP_PORT: '0',
    ...more,
  };
  const bin = join(home, 'node_modules/cachewright/dist/src/cli/bin.js');
  const child = startChild({
    name: example,
    command: process.execPath,
    args: [bin, 'start', '--config', config, '--json'],
    cwd: home,
    env,
  });
  started.push(child);
  const url = await readyUrl(child);
  const get = (key: string): Promise<string | undefined> => redisGet(redis, key);
  return {
    url,
    get,
    async holds(key, text) {
      await waitFor(async () => (await get(key)) === text, {
        what: `${key} to hold ${text}`,
        timeoutMs: 30_000,
      });
    },
    async ends(service, id) {
      const answer = await fetch(`${url}/v1/trail?service=${service}&id=${id}`);
      const { trail } = (await answer.json()) as { readonly trail: readonly { readonly state: string }[] };
      return trail.map(({ state }) => state);
    },
    async cachewright(...args) {
      const command = bound(process.execPath, [bin, ...args, '--config', config]);
      return (await run(...command, { cwd: home, env: { ...process.env, ...env } })).stdout;
    },
  };
}

function configOf(example: string): string {
  const dir = join(home, 'examples', example);
  return join(dir, readdirSync(dir).find((name) => name.startsWith('cachewright.config.')) ?? 'none');
}

async function readyUrl(child: Child): Promise<string> {
  const url = await child.waitUntil(() => /"ready":true.*"url":"([^"]+)"/.exec(child.logTail(200))?.[1], {
    what: 'the service to be ready',
    timeoutMs: 60_000,
  });
  return url;
}

async function redisGet(redis: RedisServer, key: string): Promise<string | undefined> {
  const reply = await redis.ask(`GET ${key}`);
  return reply.startsWith('$-1') ? undefined : /^\$\d+\r\n([^]*?)\r\n/.exec(reply)?.[1];
}

const linesOf = (file: string): string[] =>
  readFileSync(join(ROOT, 'examples', file), 'utf8')
    .trimEnd()
    .split('\n');

describe('the test of an example', () => {
  it.for(IN_MEMORY)('%s passes with the package as it is published', async (example) => {
    expect(await passedIn(example)).toBeGreaterThan(0);
  });
});

describe('an example', () => {
  it.for([...IN_MEMORY, 'embed'])('%s has a README, a configuration and a test', (example) => {
    const dir = join(ROOT, 'examples', example);
    expect(existsSync(join(dir, 'README.md'))).toBe(true);
    expect(existsSync(join(dir, `test/${example}.test.ts`))).toBe(true);
    expect(existsSync(configOf(example))).toBe(true);
  });

  it('imports nothing of ours but the public doors of the package', () => {
    const files = readdirSync(join(ROOT, 'examples'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.startsWith('demo'))
      .map((file) => readFileSync(join(ROOT, 'examples', file), 'utf8'));
    const imported = files.flatMap((text) =>
      [...text.matchAll(/ from '([^']+)'/g)].map(([, name = '']) => name),
    );
    const doors =
      /^(cachewright(\/(testing|reader))?|zod|node:.+|\.\.?\/(cachewright\.config|shop-api)\.ts)$/;
    expect(imported.filter((name) => !doors.test(name))).toEqual([]);
  });
});

describeWith(['redis'], 'the embedded example', () => {
  it('passes its test against a Redis', async () => {
    const redis = await startRedis();
    started.push(redis);
    const env = {
      CACHEWRIGHT_REDIS_URL: redis.url,
      CACHEWRIGHT_AUDIT_URL: `sqlite:${join(privateDir('audit'), 'audit.db')}`,
    };
    expect(await passedIn('embed', env)).toBeGreaterThan(0);
  });
});

describeWith(['redis', 'kafka'], 'an example on real servers', () => {
  let kafka: KafkaCluster;
  beforeAll(async () => {
    kafka = await startKafka();
  });
  afterAll(() => kafka.stop());

  it("seed: the console producer's message is in both tiers", async () => {
    const [original = ''] = linesOf('seed/messages.ndjson');
    await kafka.createTopic('cache-message', { partitions: 3 });
    const seed = await start('seed', kafka.brokers);
    await kafka.consoleProduce('cache-message', [original]);
    await seed.holds('product_info_200', original);
    const served = await fetch(`${seed.url}/v1/records/productInfoService/200`);
    expect(served.headers.get('x-cache')).toBe('local');
    expect(await served.text()).toBe(original);
  });

  it('http-api: thin messages bring the shops, and evict the one that is gone', async () => {
    await kafka.createTopic('shop-changes');
    const api = await startShopsApi({ port: 0, token: 'secret' });
    started.push({ stop: () => new Promise((resolve) => api.server.close(resolve)) });
    const shops = await start('http-api', kafka.brokers, { SHOPS_URL: api.url, SHOP_TOKEN: 'secret' });
    await shops.cachewright('publish', '--file', 'examples/http-api/messages.ndjson');
    await shops.holds('shop_info_300', '{"id":300,"name":"Corner","goodCommentRate":0.99,"version":7}');
    await shops.holds('shop_info_301', '{"id":301,"name":"Harbour","goodCommentRate":0.93,"version":2}');
    await waitFor(async () => (await shops.ends('shopInfoService', '999')).length > 0, { what: 'shop 999' });
    expect(await shops.ends('shopInfoService', '999')).toEqual(['evicted']);
  });

  it('debezium: rows, deletes and tombstones', async () => {
    await kafka.createTopic('shop.public.products');
    const products = await start('debezium', kafka.brokers);
    const options = ['parse.key=true', 'null.marker=NULL'].flatMap((option) => ['--reader-property', option]);
    await kafka.consoleProduce('shop.public.products', linesOf('debezium/events.tsv'), options);
    await products.holds('product_info_200', '{"id":200,"name":"iphone7","price":5299}');
    await waitFor(async () => (await products.ends('productInfoService', '201')).length === 3, {
      what: 'the events of 201',
    });
    expect(await products.get('product_info_201')).toBeUndefined();
  });

  describeWith(['postgres'], 'with a database', () => {
    it('postgres: rows are read by one query, with all digits of their versions', async () => {
      const postgres = await startPostgres();
      started.push(postgres);
      const client = new Client({ connectionString: postgres.url });
      await client.connect();
      await client.query(linesOf('postgres/stock.sql').join('\n'));
      await client.end();
      await kafka.createTopic('stock-changes');
      const stock = await start('postgres', kafka.brokers, { STOCK_DB: postgres.url });
      await stock.cachewright('publish', '--file', 'examples/postgres/messages.ndjson');
      await stock.holds('stock_2', '{"id": 2, "version": 9007199254740993, "quantity": 0}');
      const served = await fetch(`${stock.url}/v1/records/stockService/2`);
      expect(served.headers.get('x-version')).toBe('counter:9007199254740993');
      await waitFor(async () => (await stock.ends('stockService', '3')).length > 0, { what: 'row 3' });
      expect(await stock.ends('stockService', '3')).toEqual(['evicted']);
    });
  });
});
