import { execFile } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

const cruise = z.object({
  modules: z.array(z.object({ source: z.string(), dependencies: z.array(z.object({ module: z.string() })) })),
  summary: z.object({
    violations: z.array(z.object({ from: z.string(), to: z.string(), rule: z.object({ name: z.string() }) })),
  }),
});
type Cruise = z.infer<typeof cruise>;

/** Asks the tool of `npm run import-law`, with its configuration, about a tree. */
async function look(dir: string): Promise<Cruise> {
  const tool = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
  const args = [
    tool,
    '--config',
    join(root, '.dependency-cruiser.cjs'),
    '--output-type',
    'json',
    'src',
    'machines',
  ];
  // Found violations are its exit code.
  const { stdout } = await run(process.execPath, args, { cwd: dir, maxBuffer: 64 << 20 }).catch(
    (failed: { stdout: string }) => failed,
  );
  return cruise.parse(JSON.parse(stdout));
}

describe('the import law', () => {
  /** Rule → files that break it. */
  const planted: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'no-cycles': {
      'src/core/hen.ts': "import { egg } from './egg.ts';\nexport const hen = (): string => egg();\n",
      'src/core/egg.ts': "import { hen } from './hen.ts';\nexport const egg = (): string => hen();\n",
    },
    'everything-is-found': {
      'src/app/lost.ts': "export const lost = async (): Promise<unknown> => import('./nowhere.ts');\n",
    },
    'core-is-the-ground': {
      'src/core/high.ts': "import type { Page } from '../server/page.ts';\nexport type High = Page;\n",
    },
    'machines-are-pure': { 'machines/impure.ts': "export { z } from 'zod';\n" },
    'rooms-stand-on-core': {
      'src/pipeline/mixed.ts': "import { mark } from '../ingest/mark.ts';\nexport const mixed = mark;\n",
      'src/ingest/mark.ts': 'export const mark = 1;\n',
    },
    'adapters-implement-ports': {
      'src/adapters/knowing.ts': "export { mark } from '../ingest/mark.ts';\n",
    },
    'config-and-server-stand-on-core': {
      'src/config/curious.ts': "import '../server/page.ts';\nexport {};\n",
      'src/server/page.ts': 'export interface Page {\n  readonly name: string;\n}\n',
    },
    'only-roots-know-adapters': {
      'src/index.ts': "export type { Tier } from './adapters/tier.ts';\n",
      'src/adapters/tier.ts': 'export interface Tier {\n  readonly name: string;\n}\n',
    },
    'drivers-only-in-adapters': {
      'src/app/driving.ts': "import type { Redis } from 'ioredis';\nexport type Driving = Redis;\n",
      'src/audit/storing.ts': "export const storing = async (): Promise<unknown> => import('node:sqlite');\n",
    },
    'nothing-sits-on-the-cli': {
      'src/app/calling.ts':
        "export const calling = async (): Promise<unknown> => import('../cli/main.ts');\n",
      'src/cli/main.ts': 'export {};\n',
    },
  };
  const packages = Object.fromEntries(
    ['zod', 'ioredis'].flatMap((name) => [
      [`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', main: 'index.js' })],
      [`node_modules/${name}/index.js`, ''],
    ]),
  );
  let dir = '';
  let found: Cruise;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'import-law-'));
    writeFileSync(join(dir, 'package.json'), readFileSync(join(root, 'package.json')));
    for (const [file, text] of [packages, ...Object.values(planted)].flatMap((files) =>
      Object.entries(files),
    )) {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), text);
    }
    found = await look(dir);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each(Object.entries(planted))('%s is found where it is broken', (rule, files) => {
    const broken = found.summary.violations.filter(({ rule: { name } }) => name === rule);
    expect(broken.length).toBeGreaterThan(0);
    for (const { from } of broken) expect(Object.keys(files)).toContain(from);
  });

  it('has a planted violation for each of its rules', async () => {
    const { href } = new URL('../../.dependency-cruiser.cjs', import.meta.url);
    const config: { default: { forbidden: { name: string }[] } } = await import(href);
    expect(Object.keys(planted)).toEqual(config.default.forbidden.map(({ name }) => name));
  });

  it('drivers are found behind types and behind dynamic imports', () => {
    const drivers = found.summary.violations.filter(
      ({ rule: { name } }) => name === 'drivers-only-in-adapters',
    );
    expect(drivers.map(({ from }) => from).toSorted()).toEqual([
      'src/app/driving.ts',
      'src/audit/storing.ts',
    ]);
  });
});

describe('the tool that checks it', () => {
  it('reads every source file and every import of it', async () => {
    const { modules } = await look(root);
    const known = new Map(
      modules.map(({ source, dependencies }) => [source, dependencies.map((one) => one.module)]),
    );
    const missed: string[] = [];
    let imports = 0;
    for (const file of globSync('{src,machines}/**/*.ts', { cwd: root })) {
      if (file.endsWith('.d.ts')) continue;
      const text = readFileSync(join(root, file), 'utf8');
      for (const [, name = ''] of text.matchAll(
        /^(?:(?:import|export)\b.* from|\} from|import) '([^']+)';$/gm,
      )) {
        imports += 1;
        const isKnown = [name, name.replace(/^node:/, '')].some((one) => known.get(file)?.includes(one));
        if (!isKnown) missed.push(`${file} → ${name}`);
      }
    }
    expect(missed).toEqual([]);
    expect(imports).toBeGreaterThan(500);
  });
});
