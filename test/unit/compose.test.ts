import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeWith } from '../support/needs.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILES = ['docker-compose.yml', 'docker-compose.zookeeper.yml'] as const;

/** There is no engine to try them with; what can be checked without one is checked here. */
describe.each(FILES)('%s', (file) => {
  const text = readFileSync(join(ROOT, file), 'utf8');

  it('mounts only files that are in the repository, besides the secrets', () => {
    const mounted = [...text.matchAll(/(\.\/[\w./-]+)(?::|\n)/g)].map(([, path = '']) => path);
    const missing = mounted.filter((path) => !path.includes('/secrets/') && !existsSync(join(ROOT, path)));
    expect(mounted).not.toEqual([]);
    expect(missing).toEqual([]);
  });

  it('names a version of every image it does not build', () => {
    const images = [...text.matchAll(/image: (\S+)/g)].map(([, image]) => image);
    expect(images.filter((image) => image !== 'cachewright' && !/:\d+\.\d+|:\d+-/.test(image ?? ''))).toEqual(
      [],
    );
  });
});

describeWith(['compose'], 'docker-compose', () => {
  it.each(FILES)('understands %s, with a health check for everything that keeps running', (file) => {
    const config = execFileSync('docker-compose', ['--file', join(ROOT, file), 'config'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const services = blocksOf(config, 'services');
    expect([...services.keys()]).toContain('cachewright');
    const unchecked = [...services]
      .filter(([, block]) => !block.includes('healthcheck:'))
      .map(([name]) => name);
    expect(unchecked).toEqual(['topic']);
    expect(services.get('cachewright')).toMatch(/read_only: true/);
  });
});

/** The text of each entry of a top-level section, by its name. */
function blocksOf(config: string, section: string): Map<string, string> {
  const [, body = ''] = new RegExp(`^${section}:\\n((?: .*\\n|\\n)*)`, 'm').exec(config) ?? [];
  const blocks = body.split(/^ {2}(?=\S)/m).filter(Boolean);
  return new Map(blocks.map((block) => [block.slice(0, block.indexOf(':')), block]));
}
