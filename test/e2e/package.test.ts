/** What `npm pack` makes, installed as a user installs it: into an empty folder, by npm, from the tarball. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeWith } from '../support/needs.ts';
import { privateDir } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const ROOT = join(import.meta.dirname, '../..');
const NPM_MS = 170_000;
const run = promisify(execFile);

/** The user's folder. */
let home = '';
let installed = '';
/** Paths in the tarball. */
let packed: string[] = [];

/** What an npm script adds to the environment would make npm in another folder work on this one. */
const cleanEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) =>
      name !== 'INIT_CWD' &&
      !/^npm_(package|lifecycle|config_(local_prefix|global_prefix|prefix|workspace))/i.test(name),
  ),
);
/** This test's own Node first, as a user's. */
const env = { ...cleanEnv, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };

const npm = async (dir: string, ...args: string[]): Promise<string> => {
  const { stdout } = await run('npm', args, { cwd: dir, env, maxBuffer: 16 << 20 });
  return stdout;
};

beforeAll(async () => {
  const shelf = privateDir('package');
  await npm(ROOT, 'pack', '--pack-destination', shelf);
  const [tarball = ''] = readdirSync(shelf);
  const { stdout } = await run('tar', ['-tzf', join(shelf, tarball)]);
  packed = stdout
    .trimEnd()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));

  home = privateDir('package-user');
  writeFileSync(join(home, 'package.json'), '{ "private": true, "type": "module" }\n');
  await npm(home, 'install', '--ignore-scripts', '--no-audit', '--no-fund', join(shelf, tarball));
  installed = join(home, 'node_modules/cachewright');
}, NPM_MS);

describe('the tarball', () => {
  it('holds compiled JavaScript, declarations, the statechart, the documentation and the licence', () => {
    expect(packed).toEqual(
      expect.arrayContaining([
        'dist/src/index.js',
        'dist/src/index.d.ts',
        'dist/src/reader.js',
        'dist/src/testing.js',
        'dist/src/cli/bin.js',
        'dist/src/audit/writer-thread.js',
        'dist/machines/change-message.js',
        'dist/machines/index.d.ts',
        'docs/options.md',
        'docs/testing.md',
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'package.json',
      ]),
    );
  });

  it('holds no test, no source and nothing of the checkout', () => {
    const allowed =
      /^(dist\/(src|machines)\/.+\.(js|d\.ts)|docs\/[\w-]+\.md|CHANGELOG\.md|LICENSE|README\.md|package\.json)$/;
    expect(packed.filter((path) => !allowed.test(path))).toEqual([]);
    expect(packed.filter((path) => /\btests?\//.test(path))).toEqual([]);
  });

  it('names no path of the machine that made it', () => {
    const places = [ROOT, homedir(), tmpdir()].filter((path) => path.length > 1);
    const naming = packed.filter((path) => {
      const text = readFileSync(join(installed, path), 'utf8');
      return places.some((place) => text.includes(`${place}/`));
    });
    expect(naming).toEqual([]);
  });

  it('needs no install script and brings no Node', () => {
    const manifest = z
      .looseObject({
        dependencies: z.record(z.string(), z.string()),
        optionalDependencies: z.record(z.string(), z.string()),
        scripts: z.record(z.string(), z.string()),
      })
      .parse(JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')));
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
      expect(manifest.scripts).not.toHaveProperty(script);
    }
    const { dependencies, optionalDependencies } = manifest;
    const names = Object.keys({ ...dependencies, ...optionalDependencies });
    // A client of ZooKeeper, not a Node.
    expect(names.filter((name) => /^node(-|$)/.test(name))).toEqual(['node-zookeeper-client']);
    expect(existsSync(join(home, 'node_modules/.bin/node'))).toBe(false);
    expect(globSync('node_modules/node-{linux,darwin,win,bin}*', { cwd: home })).toEqual([]);
    expect(existsSync(join(home, 'node_modules/node24'))).toBe(false);
  });
});

describe('the installed package', () => {
  it.each(['cachewright', 'cachewright/reader', 'cachewright/machine', 'cachewright/testing'])(
    'gives %s',
    async (name) => {
      const program = `console.log(Object.keys(await import(${JSON.stringify(name)})).length)`;
      const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', program], {
        cwd: home,
      });
      expect(Number(stdout)).toBeGreaterThan(1);
      expect(stderr).toBe('');
    },
  );

  it('type-checks a program that uses every door, declarations of libraries included', async () => {
    writeFileSync(join(home, 'consumer.ts'), CONSUMER);
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
    const args = [
      tsc,
      '--noEmit',
      '--strict',
      '--target',
      'es2024',
      '--module',
      'nodenext',
      ...types,
      'consumer.ts',
    ];
    const { stdout } = await run(process.execPath, args, { cwd: home }).catch(
      (failed: { stdout: string }) => failed,
    );
    expect(stdout).toBe('');
  });

  it('runs a service over recorded messages, by cachewright/testing', async () => {
    const program = `
      import { createHarness } from 'cachewright/testing';
      const harness = createHarness({ services: { productInfoService: {
        source: { type: 'inline' }, key: 'product_info_{id}',
        version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' } } } });
      const [id] = await harness.send({ serviceId: 'productInfoService', id: 200 });
      console.log((await harness.states(id)).join(' '), await harness.redis.get('product_info_200'));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: home });
    expect(stdout.trim()).toBe(
      'received parsed fetched localCached redisCached {"serviceId":"productInfoService","id":200}',
    );
  });
});

describe('the installed command', () => {
  it('prints its version and the statechart', async () => {
    const { version } = z
      .object({ version: z.string() })
      .parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
    const ask = (...args: string[]) => run('npx', ['cachewright', ...args], { cwd: home, env });
    expect((await ask('--version')).stdout.trim()).toBe(version);
    const { stdout } = await ask('machine');
    expect(stdout).toContain('received  waits for parse');
    expect(stdout).toContain('redisCached  final');
  });

  const old = olderNode();
  it.skipIf(old === undefined)(
    `says in one sentence that Node is too old${old === undefined ? ' (needs a Node before 22.19 on PATH)' : ''}`,
    async () => {
      const bin = join(installed, 'dist/src/cli/bin.js');
      const failed = await run(old?.path ?? '', [bin, 'machine'], { cwd: home, env: cleanEnv }).catch(
        (error: { code: number; stdout: string; stderr: string }) => error,
      );
      expect(failed).toMatchObject({
        code: 2,
        stdout: '',
        stderr: `cachewright needs Node 22.19 or newer; this is Node ${old?.version}.\n`,
      });
    },
  );
});

describeWith(['redis'], 'the installed package on a real Redis', () => {
  it('takes a published message into both tiers and the audit file, and reads it back by cachewright/reader', async () => {
    const { url } = await sharedRedis();
    const prefix = uniqueName('package');
    writeFileSync(join(home, 'embed.mjs'), EMBED);
    const { stdout } = await run(process.execPath, ['embed.mjs', url, prefix], {
      cwd: home,
      timeout: 60_000,
    });
    const key = `${prefix}:200`;
    const told = z.looseObject({ closedMs: z.number() }).parse(JSON.parse(stdout));
    // What `close` leaves open would keep the program alive.
    expect(Date.now() - told.closedMs).toBeLessThan(5_000);
    expect(told).toEqual({
      ids: [expect.stringMatching(/^app@[0-9A-Z]{26}$/)],
      states: ['redisCached'],
      refused: 'E_SERVICE_UNKNOWN',
      index: 1,
      local: {
        tier: 'local',
        value: { serviceId: 'productInfoService', id: 200, version: 7 },
        version: 'counter:7',
      },
      unknown: 'E_NOT_FOUND',
      read: ['redis', 'local'],
      nothing: true,
      closedMs: expect.any(Number),
    });
    // The audit thread, compiled as well, has stored it.
    const { stdout: trail } = await run(
      process.execPath,
      [join(installed, 'dist/src/cli/bin.js'), 'trail', '--key', key, '--json'],
      {
        cwd: home,
        env: { ...cleanEnv, CACHEWRIGHT_AUDIT_URL: 'sqlite:./audit.db', CACHEWRIGHT_REDIS_URL: url },
      },
    );
    expect(trail).toContain('"redisCached"');
  });
});

/** The first Node of PATH, or of the system, that is too old. */
function olderNode(): { path: string; version: string } | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  for (const path of dirs.map((dir) => join(dir, 'node')).filter((file) => existsSync(file))) {
    const version = execFileSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < 22 || (major === 22 && minor < 19)) return { path, version };
  }
  return undefined;
}

const CONSUMER = `
import {
  CachewrightError, type CachedRecord, type ConfigInput, createCachewright, defineConfig, defineSource, type MessageEvent,
} from 'cachewright';
import { changeMessage, compileChart } from 'cachewright/machine';
import { createCacheReader } from 'cachewright/reader';
import { chartPaths, createHarness, runPath } from 'cachewright/testing';

export const config: ConfigInput = defineConfig({
  kafka: { brokers: ['127.0.0.1:9092'], topics: ['cache-message', { name: 'products', service: 'own', id: 'key' }] },
  services: {
    own: {
      key: 'own:{id}',
      version: { from: 'record', field: 'version', kind: 'counter' },
      source: defineSource({ fetch: async (id: string, signal: AbortSignal) => ({ id, stopped: signal.aborted }) }),
    },
  },
});
// @ts-expect-error -- no such option
defineConfig({ sevices: {} });
const cachewright = createCachewright(config);
const stop: () => void = cachewright.on('message', (event: MessageEvent) => void event.steps[0]?.to);
// @ts-expect-error -- no such event
cachewright.on('mesage', stop);
export const record: Promise<CachedRecord | undefined> = cachewright.get('own', 1n);
export const reader = createCacheReader({ redis: { url: 'redis://127.0.0.1' }, services: config.services ?? {} });
export const harness = createHarness({ services: config.services ?? {}, records: { own: { 1: { version: 1 } } } });
export const ends: Promise<string>[] = chartPaths().map(async (path) => (await runPath(path)).end);
export const size: number = compileChart(changeMessage).states.size;
export const isOurs = (thrown: unknown): boolean => thrown instanceof CachewrightError && thrown.code === 'E_ABORTED';
`;

const EMBED = `
import { createCachewright } from 'cachewright';
import { createCacheReader } from 'cachewright/reader';

const [url, prefix] = process.argv.slice(2);
const services = {
  productInfoService: {
    source: { type: 'inline' },
    key: prefix + ':{id}',
    version: { from: 'record', field: 'version', kind: 'counter' },
  },
};
const cachewright = createCachewright({
  redis: { url },
  audit: { url: 'sqlite:./audit.db' },
  queue: { prefix },
  roles: ['worker'],
  log: { level: 'error' },
  services,
});
const states = [];
const cached = new Promise((resolve) => {
  cachewright.on('message', ({ state }) => {
    states.push(state);
    resolve();
  });
});
await cachewright.start();
const message = { serviceId: 'productInfoService', id: 200, version: 7 };
const refusal = await cachewright.publish([message, { serviceId: 'other', id: 1 }]).catch((error) => error);
const ids = await cachewright.publish(message);
await cached;
const { tier, value, version } = await cachewright.get('productInfoService', 200);
const unknown = await cachewright.get('other', 1).catch((error) => error.code);
const reader = createCacheReader({ redis: { url }, services });
const read = [(await reader.get('productInfoService', 200)).tier, (await reader.get('productInfoService', 200)).tier];
const nothing = (await reader.get('productInfoService', 201)) === undefined;
await reader.close();
await cachewright.close();
console.log(JSON.stringify({
  ids, states, refused: refusal.code, index: refusal.details.index, local: { tier, value, version }, unknown, read, nothing, closedMs: Date.now(),
}));
`;
