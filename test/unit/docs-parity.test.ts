import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { environmentNames } from '../../src/config/environment.ts';
import { configShape } from '../../src/config/resolve.ts';
import { catalogue } from '../../src/core/errors.ts';
import { DOCS, generatedDocs } from '../support/generate-docs.ts';

const read = (name: string): string => readFileSync(join(DOCS, name), 'utf8');

describe('the generated pages', () => {
  it.each([...generatedDocs().keys()])('docs/%s is what `npm run docs` writes', (name) => {
    expect(existsSync(join(DOCS, name)), `run \`npm run docs\`: docs/${name} is missing`).toBe(true);
    expect(read(name), 'run `npm run docs`').toBe(generatedDocs().get(name));
  });
});

describe('docs/errors.md', () => {
  const told = [...read('errors.md').matchAll(/^\| `(E_[A-Z0-9_]+)` \|/gm)].map(([, code]) => code);

  it('tells of every code of the catalogue', () => {
    expect(Object.keys(catalogue).filter((code) => !told.includes(code))).toEqual([]);
  });

  it('tells of no code that the catalogue does not have', () => {
    expect(told.filter((code) => code === undefined || !(code in catalogue))).toEqual([]);
    expect(new Set(told).size).toBe(told.length);
  });
});

describe('docs/options.md', () => {
  const names = environmentNames(configShape).map(({ name }) => name);
  const told = [...read('options.md').matchAll(/`(CACHEWRIGHT_[A-Z_]+)`/g)].map(([, name]) => name);

  it('tells of every name in the environment, once', () => {
    expect(names.filter((name) => told.filter((other) => other === name).length !== 1)).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });

  it('tells of no name that is not read', () => {
    const others = ['CACHEWRIGHT_CONFIG', 'CACHEWRIGHT_STRICT'];
    expect(
      told.filter((name) => name === undefined || !(names.includes(name) || others.includes(name))),
    ).toEqual([]);
  });

  it('gives every option a description that ends as a sentence', () => {
    const rows = read('options.md')
      .split('\n')
      .filter((line) => line.startsWith('| `') && line.split(' | ').length === 4);
    expect(rows.length).toBeGreaterThan(80);
    expect(rows.filter((row) => !/[.!:)`] \|$/.test(row))).toEqual([]);
  });
});

describe('docs/failure-modes.md', () => {
  const ROOT = join(DOCS, '..');
  const rows = read('failure-modes.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (?:when \||---)/.test(line));

  it.each(rows)('%s', (row) => {
    const [when, then, shownBy, ...more] = row.slice(2, -2).split(' | ');
    expect([when, then].every(Boolean) && more.length === 0, 'a row is `when | then | shown by`').toBe(true);
    const shown = [...(shownBy ?? '').matchAll(/`([^`]+?) › ([^`]+)`/g)];
    const text = shown.map(([whole]) => whole).join(' · ');
    expect(shownBy, 'the last column is `file › name of the test`, several with · between').toBe(text);
    expect(text).not.toBe('');
    for (const [, file = '', name = ''] of shown) {
      expect(existsSync(join(ROOT, file)), `${file} is not there`).toBe(true);
      expect(testNames(readFileSync(join(ROOT, file), 'utf8')), `no test of ${file} has this name`).toContain(
        name,
      );
    }
  });
});

/** The names of a file's tests as they are written there; those of `it.each` with their placeholders. */
function testNames(source: string): string[] {
  const written = source.matchAll(/(?:\b(?:it|test)\b[^'"`]*?|\)\s*)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g);
  return [...written].map(([, , name = '']) => name.replaceAll(/\\(['"`])/g, '$1'));
}
