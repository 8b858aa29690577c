/** Finds and reads the configuration file. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type CachewrightError, fail, reasonOf } from '../core/errors.ts';

/** Looked for in the working directory, the first that is there. */
export const FILE_NAMES = ['ts', 'js', 'mjs', 'json'].map((extension) => `cachewright.config.${extension}`);

export interface LoadedFile {
  /** Absolute. */
  readonly file: string;
  /** As people know it: relative to the working directory where it lies in it. */
  readonly shownAs: string;
  /** Where its relative paths begin. */
  readonly baseDir: string;
  readonly content: object;
  readonly warnings: readonly string[];
}

/**
 * The configuration file; undefined when none is named and none is there.
 *
 * @param file as named by a person; undefined: the first of {@link FILE_NAMES}
 * @throws `E_CONFIG_UNREADABLE` when it cannot be read, or holds no object
 */
export async function loadFile(cwd: string, file: string | undefined): Promise<LoadedFile | undefined> {
  const found = file === undefined ? FILE_NAMES.filter((name) => existsSync(resolve(cwd, name))) : [file];
  const [name, ...ignored] = found;
  if (name === undefined) return undefined;
  const path = resolve(cwd, name);
  const shownAs = relative(cwd, path).startsWith('..') ? path : relative(cwd, path);
  const content = extname(path) === '.json' ? readJson(path, shownAs) : await importFile(path, shownAs);
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw unreadable(shownAs, 'it holds no object');
  }
  return {
    file: path,
    shownAs,
    baseDir: dirname(path),
    content,
    warnings: ignored.map((other) => `${other} is ignored, since ${name} is there.`),
  };
}

/** `$schema`, which editors read, is no option. */
function readJson(path: string, shownAs: string): unknown {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''));
  } catch (thrown) {
    throw unreadable(shownAs, withoutExcerpt(reasonOf(thrown)), thrown);
  }
  if (typeof content !== 'object' || content === null || !('$schema' in content)) return content;
  const { $schema: _, ...options } = content;
  return options;
}

async function importFile(path: string, shownAs: string): Promise<unknown> {
  if (!existsSync(path)) throw unreadable(shownAs, 'there is no such file');
  let module: { readonly default?: unknown; readonly config?: unknown };
  try {
    module = await import(pathToFileURL(path).href);
  } catch (thrown) {
    throw unreadable(shownAs, reasonOf(thrown), thrown);
  }
  const content = module.default ?? module.config;
  if (content === undefined) throw unreadable(shownAs, 'it exports neither `default` nor `config`');
  return content;
}

/** `JSON.parse` quotes the text around the fault, which may be a password. */
function withoutExcerpt(reason: string): string {
  return reason.replace(/, (\.\.\.)?".*" is not valid JSON$/s, ' is not valid JSON');
}

function unreadable(file: string, reason: string, cause?: unknown): CachewrightError {
  return fail('E_CONFIG_UNREADABLE', { file, reason }, { cause });
}
