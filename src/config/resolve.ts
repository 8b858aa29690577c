/** From what was given, flag over environment over file over default, to the one resolved configuration. */
import { resolve as resolvePath } from 'node:path';
import { brokenRules } from './cross-rules.ts';
import { Draft, type Environment, replaced, without } from './draft.ts';
import { readText, refuseUnknownNames, takeEnvironment } from './environment.ts';
import { errorOf, type Found, problemAt, problemsOfIssue } from './problems.ts';
import { takeReferences } from './references.ts';
import { type Config, type ConfigInput, configSchema } from './schema.ts';
import { isPlainObject, mapObject, type Path, pick, type Shape, shapeAt, shapeOf } from './shape.ts';

export interface ResolveOptions {
  /** What a file or a program gave; it is checked, whatever its type says. */
  readonly input?: ConfigInput;
  /** How problems name the input: `file cachewright.config.json`. */
  readonly label?: string;
  /** Where the input's relative paths begin; the working directory otherwise. */
  readonly baseDir?: string;
  /** Where the relative paths of the environment and of defaults begin. */
  readonly cwd?: string;
  readonly env?: Environment;
  /** By path: `{ 'http.port': '8080', roles: 'ingest,worker' }`; text is read as in the environment, undefined is no flag. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

export interface ResolvedConfig {
  readonly config: Config;
  /** Where the value at a path came from: `flag --http-port`, `env CACHEWRIGHT_HTTP_PORT`, `file …` or `default`. */
  readonly sourceOf: (path: Path) => string;
  /** What is allowed, and probably not meant. */
  readonly warnings: readonly string[];
}

/** The schema as data, made once. */
export const configShape: Shape = shapeOf(configSchema);

/**
 * The resolved configuration: deeply frozen, every field present.
 *
 * @throws `E_CONFIG_INVALID` with all problems, in words and as `details.list` ({@link Problem}); `E_HOST_UNPROTECTED` when that is the only one
 */
export function resolveConfig(options: ResolveOptions = {}): ResolvedConfig {
  const { input = {}, label = 'given', cwd = process.cwd(), env = process.env, flags = {} } = options;
  const baseDir = options.baseDir ?? cwd;
  const draft = new Draft(configShape);
  draft.take(input, label);
  takeEnvironment(draft, env, cwd);
  takeFlags(draft, flags);
  const referenced = takeReferences(draft, env, baseDir);
  refuseUnknownNames(draft, env, referenced);
  placeAuditFile(draft, label, { baseDir, cwd });

  const { config, found } = judge(draft);
  const told = [...draft.problems, ...untold(draft, found)];
  if (told.length > 0 || config === undefined) throw errorOf(told);
  return {
    config: deepFreeze(config),
    sourceOf: (path) => draft.sourceOf(path),
    warnings: warningsOf(config),
  };
}

function takeFlags(draft: Draft, flags: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const path = name.split('.');
    const meta = textMetaAt(draft, path);
    const given = typeof value === 'string' && meta !== undefined ? readText(meta, value) : value;
    draft.put(
      path,
      given,
      `flag --${name.replaceAll('.', '-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    );
  }
}

function textMetaAt(draft: Draft, path: Path): Parameters<typeof readText>[0] | undefined {
  const shape = shapeAt(draft.root, path, draft.value);
  if (shape === undefined) return undefined;
  const item = shape.kind === 'list' ? pick(shape.item, '') : pick(shape, '');
  return item.meta === undefined ? undefined : { meta: item.meta, isList: shape.kind === 'list' };
}

/** The audit store's path is made absolute, so that every thread and command means the same file. */
function placeAuditFile(draft: Draft, label: string, dirs: { baseDir: string; cwd: string }): void {
  const path = ['audit', 'url'];
  const given =
    isPlainObject(draft.value) && isPlainObject(draft.value['audit'])
      ? draft.value['audit']['url']
      : undefined;
  const url = given ?? shapeAt(draft.root, path, draft.value)?.defaultValue;
  const file = typeof url === 'string' ? /^sqlite:(.+)$/.exec(url)?.[1] : undefined;
  if (file === undefined || file === ':memory:') return;
  const source = draft.sourceOf(path);
  draft.put(path, `sqlite:${resolvePath(source === label ? dirs.baseDir : dirs.cwd, file)}`, source);
}

interface Judgement {
  /** Undefined when not even what is left after cutting out the problems makes a configuration. */
  readonly config: Config | undefined;
  readonly found: readonly Found[];
}

/**
 * Asks the schema, then the rules between options. So that all problems are told at once, what is wrong is cut out
 * (first the value, then its whole section) and the rules see the rest.
 */
function judge(draft: Draft): Judgement {
  let { value } = draft;
  let config: Config | undefined;
  const found: Found[] = [];
  const cuts = [without, withStandIn, withoutAround];
  for (const cut of cuts) {
    const result = configSchema.safeParse(completed(configShape, value));
    if (result.success) {
      config = result.data;
      break;
    }
    const issues = result.error.issues.flatMap((issue) => problemsOfIssue(draft, issue));
    if (cut === without) found.push(...issues);
    for (const { path } of issues) value = cut(value, path);
  }
  if (config === undefined) return { config, found };
  const troubled = found.map(({ path }) => path);
  for (const { at, reads, message, code } of brokenRules(config)) {
    if (troubled.some((path) => reads.some((read) => isAlong(path, read)))) continue;
    found.push({ path: at, problem: problemAt(draft, at, message, code) });
  }
  return { config, found };
}

/** So that a service whose source or version is wrong can still be asked about the rest. */
const STAND_INS: ReadonlyMap<unknown, unknown> = new Map<unknown, unknown>([
  ['source', { type: 'inline' }],
  ['version', { from: 'offset' }],
]);

function withStandIn(value: unknown, path: Path): unknown {
  const standIn = path[0] === 'services' ? STAND_INS.get(path[2]) : undefined;
  return standIn === undefined ? withoutAround(value, path) : replaced(value, path.slice(0, 3), standIn);
}

/** Without the service, or the section, that the path lies in. */
function withoutAround(value: unknown, path: Path): unknown {
  return without(value, path.slice(0, path[0] === 'services' ? 2 : 1));
}

/** True when one path leads to the other or they are equal. */
function isAlong(one: Path, other: Path): boolean {
  return one.slice(0, other.length).every((name, index) => name === other[index]);
}

/** What was not told yet: a value whose reference leads nowhere would else be told as missing too. */
function untold(draft: Draft, found: readonly Found[]): readonly Found['problem'][] {
  const told = new Set(draft.problems.map(({ path }) => path));
  return found.map(({ problem }) => problem).filter(({ path }) => !told.has(path));
}

/** Names every field, also those nobody gave, so that they exist in the result. */
function completed(shape: Shape, value: unknown): unknown {
  const at = pick(shape, value);
  if (Array.isArray(value) && at.kind === 'list') return value.map((item) => completed(at.item, item));
  if (!isPlainObject(value)) return value;
  if (at.kind === 'record') return mapObject(value, (item) => completed(at.item, item));
  if (at.kind !== 'section') return value;
  const fields = [...at.fields].map(([name, field]) => {
    const given =
      value[name] ??
      (value[name] === undefined && field.kind === 'section' ? field.defaultValue : value[name]);
    return [name, completed(field, given)] as const;
  });
  return { ...value, ...Object.fromEntries(fields) };
}

/** Freezes plain objects and lists; functions and schemas belong to whoever made them. */
function deepFreeze<Value>(value: Value): Value {
  if (Array.isArray(value)) for (const item of value) deepFreeze(item);
  else if (isPlainObject(value)) for (const item of Object.values(value)) deepFreeze(item);
  else return value;
  return Object.freeze(value);
}

function warningsOf(config: Config): string[] {
  const warnings: string[] = [];
  if (Object.keys(config.services).length === 0) {
    warnings.push('No services are configured: every message would be rejected.');
  }
  for (const [id, { source, version, read }] of Object.entries(config.services)) {
    if (source.type === 'inline' || version.from === 'record' || !read.fromSource) continue;
    warnings.push(
      `services.${id}: its versions are not on its records (version.from: "${version.from}"), so a record that is read from the source is kept under the version last known, or, where none is, in Redis only and for a short while (docs/reading.md). Put a version on the record, or set read.fromSource to false.`,
    );
  }
  return warnings;
}
