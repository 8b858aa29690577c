/** What stands elsewhere: secrets in the environment or in files, JSON Schemas in files. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { reasonOf } from '../core/errors.ts';
import type { Draft, Environment } from './draft.ts';
import { problemAt } from './problems.ts';
import { isPlainObject, mapLeaves, type Path } from './shape.ts';

/**
 * Puts the values in the place of their references. What cannot be found is a problem, and left undefined.
 *
 * @param baseDir where relative paths begin
 * @returns names of the environment variables referred to
 */
export function takeReferences(draft: Draft, env: Environment, baseDir: string): Set<string> {
  const referenced = new Set<string>();
  draft.value = mapLeaves(draft.root, draft.value, ({ meta }, value, path) => {
    if (meta?.isJsonFile === true && typeof value === 'string') return readJson(draft, path, value, baseDir);
    if (meta?.secret === undefined || !isPlainObject(value) || Object.keys(value).length !== 1) return value;
    const { env: name, file } = value;
    if (typeof name === 'string') {
      referenced.add(name);
      return readVariable(draft, path, name, env);
    }
    if (typeof file !== 'string') return value;
    const content = readSecretFile(draft, path, file, baseDir, draft.placeOf(path));
    if (content !== undefined) draft.via(path, `file ${file}`);
    return content;
  });
  return referenced;
}

function readVariable(draft: Draft, path: Path, name: string, env: Environment): string | undefined {
  const value = env[name];
  if (value === undefined || value === '') {
    draft.problems.push({
      ...problemAt(draft, path, `the environment variable ${name} is not set`),
      value: JSON.stringify({ env: name }),
    });
    return undefined;
  }
  draft.via(path, `env ${name}`);
  return value;
}

/** A secret from a file, without the line break at its end; undefined, with a problem, when it cannot be read. */
export function readSecretFile(
  draft: Draft,
  path: Path,
  file: string,
  baseDir: string,
  source: string,
): string | undefined {
  try {
    const content = readFileSync(resolve(baseDir, file), 'utf8').replace(/\r?\n$/, '');
    if (content !== '') return content;
    draft.problems.push({ ...problemAt(draft, path, `the file ${file} is empty`), value: undefined, source });
  } catch (thrown) {
    const message = `the file ${file} cannot be read: ${reasonOf(thrown)}`;
    draft.problems.push({ ...problemAt(draft, path, message), value: undefined, source });
  }
  return undefined;
}

function readJson(draft: Draft, path: Path, file: string, baseDir: string): unknown {
  try {
    const content: unknown = JSON.parse(readFileSync(resolve(baseDir, file), 'utf8'));
    if (isPlainObject(content)) return content;
    draft.problems.push(problemAt(draft, path, 'the file holds no JSON Schema, which is an object'));
  } catch (thrown) {
    draft.problems.push(problemAt(draft, path, `the JSON Schema cannot be read: ${reasonOf(thrown)}`));
  }
  return undefined;
}
