import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';

const dir = mkdtempSync(join(tmpdir(), 'cachewright-cli-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A line of a stack trace. */
const STACK = /^\s+at .+:\d+:\d+/m;

const config = {
  kafka: { brokers: ['127.0.0.1:1'], topics: ['cache-message'] },
  redis: { url: 'redis://:hunter2@127.0.0.1:1' },
  http: { port: 0 },
  services: {
    productInfoService: {
      source: { type: 'inline' },
      key: 'product_info_{id}',
      version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
    },
  },
};

beforeAll(() => {
  writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
  writeFileSync(join(dir, 'broken.json'), '{"kafka":');
  writeFileSync(
    join(dir, 'wrong.json'),
    JSON.stringify({ ...config, redis: { ulr: 'x' }, http: { port: 99_999 } }),
  );
  const twoTopics = { ...config.kafka, topics: ['one', 'two'] };
  writeFileSync(join(dir, 'two.json'), JSON.stringify({ ...config, kafka: twoTopics }));
});

describe('wrong usage', () => {
  it.each([
    ['no command', [], 'Usage: cachewright'],
    ['an unknown command', ['strat'], 'Did you mean start?'],
    ['an unknown option', ['start', '--htp-port', '1'], 'Did you mean --http-port?'],
    ['a missing argument', ['get', 'productInfoService'], "missing required argument 'id'"],
    ['an argument too many', ['get', 'a', 'b', 'c'], 'too many arguments'],
    ['an address that is none', ['get', 'a', 'b', '--url', 'nowhere'], 'http://127.0.0.1:8080'],
    ['a limit that is none', ['trail', 'a', 'b', '--limit', '0'], 'whole number'],
    ['a trail of nothing', ['trail'], 'Ask for SERVICE ID'],
    ['a trail of two things', ['trail', 'a', 'b', '--key', 'c'], 'Ask for SERVICE ID'],
    ['a file that is not there', ['ingest', 'nothing.ndjson'], 'nothing.ndjson cannot be read'],
    ['an empty input', ['ingest', '-'], 'the input is empty'],
    ['a message and a file', ['publish', '{}', '--file', 'x'], 'not both'],
    ['a topic that must be chosen', ['publish', '{}', '--config', 'two.json'], 'one, two'],
    ['a file that is there already', ['init', '--output', 'here.mjs'], '--yes overwrites'],
    ['a name that takes no comments', ['init', '--output', 'x.json'], '.mjs'],
    ['a role that there is none of', ['start', '--roles', 'boss'], '"ingest" or "worker" or "api"'],
    ['a configuration that is not there', ['config', 'check', '--config', 'none.json'], 'none.json'],
    ['a configuration that is no JSON', ['config', 'check', '--config', 'broken.json'], 'broken.json'],
    ['a variable that is misspelt', ['config', 'check'], 'CACHEWRIGHT_HTTP_PORT'],
  ])('with %s ends with 2 and says what to do', async (name, args, words) => {
    writeFileSync(join(dir, 'here.mjs'), 'export default {};');
    const env: Record<string, string> =
      name === 'a variable that is misspelt' ? { CACHEWRIGHT_HTTP_PROT: '1' } : {};
    const { code, stdout, stderr } = await runCli(args, { cwd: dir, env });
    expect(stderr).toContain(words);
    expect(stderr).not.toMatch(STACK);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('with a configuration that has several problems tells them all at once', async () => {
    const { code, stderr } = await runCli(['config', 'check', '--config', 'wrong.json'], { cwd: dir });
    expect(stderr).toContain('redis.ulr');
    expect(stderr).toContain('http.port');
    expect(code).toBe(2);
  });
});

describe('a command without servers', () => {
  it('prints help and version on stdout and ends with 0', async () => {
    expect(await runCli(['--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(await runCli(['trail', '--help'])).toMatchObject({ code: 0, stderr: '' });
    expect((await runCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('prints the chart as text, JSON and Mermaid', async () => {
    expect((await runCli(['machine'])).stdout).toContain('received  waits for parse');
    const { stdout } = await runCli(['machine', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ id: 'change-message', initial: 'received' });
    expect((await runCli(['machine', '--mermaid'])).stdout).toMatch(/^stateDiagram-v2/);
  });

  it('prints the configuration with its sources, and no secret', async () => {
    const env = { CACHEWRIGHT_HTTP_PORT: '9000' };
    const lines = await runCli(['config', 'print', '--sources', '--roles', 'api'], { cwd: dir, env });
    expect(lines.stdout).toContain('http.port = 9000  (env CACHEWRIGHT_HTTP_PORT)');
    expect(lines.stdout).toMatch(/^roles = \["api"\] {2}\(flag --roles\)$/m);
    expect(lines.stdout).not.toContain('hunter2');
    expect(lines.code).toBe(0);
    const { stdout } = await runCli(['config', 'print'], { cwd: dir });
    expect(JSON.parse(stdout)).toMatchObject({ redis: { url: 'redis://:***@127.0.0.1:1' } });
  });

  it('says nothing but results with --quiet, before or after the command', async () => {
    expect(await runCli(['config', 'check'], { cwd: dir })).toMatchObject({ code: 0, stdout: '' });
    for (const args of [
      ['--quiet', 'config', 'check'],
      ['config', 'check', '-q'],
    ]) {
      expect(await runCli(args, { cwd: dir })).toEqual({ code: 0, stdout: '', stderr: '' });
    }
  });

  it('writes a configuration that is then fine', async () => {
    const made = await runCli(['init', '--output', 'made.mjs'], { cwd: dir });
    expect(made).toMatchObject({ code: 0, stdout: `${join(dir, 'made.mjs')}\n` });
    const again = await runCli(['init', '--output', 'made.mjs', '--yes'], { cwd: dir });
    expect(again.code).toBe(0);
    expect(await runCli(['config', 'check', '--config', 'made.mjs'], { cwd: dir })).toMatchObject({
      code: 0,
    });
  });

  it.concurrent.each([
    ['doctor', ['doctor']],
    ['get', ['get', 'productInfoService', '200']],
    ['try', ['try', '{"serviceId":"productInfoService","id":200}']],
    ['ingest', ['ingest', '-']],
    ['publish', ['publish', '{}']],
    ['init --from-topic', ['init', '--from-topic', 'cache-message', '-o', 'new.mjs']],
  ])('%s ends with 69 when what it needs does not answer', async (_name, args) => {
    const { code, stderr, stdout } = await runCli(args, { cwd: dir, input: '{}\n' });
    expect(`${stderr}${stdout}`).toContain('cannot be reached');
    expect(`${stderr}${stdout}`).not.toContain('hunter2');
    expect(stderr).not.toMatch(STACK);
    expect(code).toBe(69);
  });

  it('survives a reader that goes away', async () => {
    const bin = fileURLToPath(new URL('../../src/cli/bin.ts', import.meta.url));
    const child = spawn('sh', ['-c', '"$0" "$1" machine --json | head -n 1', process.execPath, bin]);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
    await once(child, 'close');
    expect(stderr).toBe('');
  });
});

describe('loading', () => {
  /** Prints every package that is loaded, in Node's own loader. */
  const spy = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module';
    const seen = new Set();
    registerHooks({ load(url, context, next) {
      const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1];
      if (name !== undefined && !seen.has(name)) { seen.add(name); process.stderr.write('loaded ' + name + '\\n'); }
      return next(url, context);
    } });`)}`;
  const loadedBy = async (args: readonly string[]): Promise<string[]> => {
    const { stderr } = await runCli(args, { nodeArgs: ['--import', spy] });
    return [...stderr.matchAll(/^loaded (.+)$/gm)].map(([, name = '']) => name).toSorted();
  };

  it('is lazy: help needs commander alone, and the chart xstate', async () => {
    expect(await loadedBy(['--help'])).toEqual(['commander']);
    expect(await loadedBy(['start', '--help'])).toEqual(['commander']);
    expect(await loadedBy(['machine'])).toEqual(['commander', 'xstate']);
  });
});
