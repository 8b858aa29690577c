/** Options from the environment. Names are made from the paths: `kafka.groupId` is `CACHEWRIGHT_KAFKA_GROUP_ID`. */
import { didYouMean } from './did-you-mean.ts';
import type { Draft, Environment } from './draft.ts';
import type { OptionMeta } from './option.ts';
import { readSecretFile } from './references.ts';
import type { Path, Shape } from './shape.ts';

const PREFIX = 'CACHEWRIGHT_';

/** Names that are no options. `CACHEWRIGHT_TEST_…` and `CACHEWRIGHT_STRICT` belong to the project's own tests. */
export const OTHER_NAMES: Readonly<Record<string, string>> = {
  CACHEWRIGHT_CONFIG: 'The configuration file, unless `--config` names one.',
  CACHEWRIGHT_STRICT: "For the project's own tests: a skipped suite fails.",
};
const TEST_PREFIX = 'CACHEWRIGHT_TEST_';

export interface EnvironmentName {
  readonly name: string;
  readonly path: Path;
  readonly meta: OptionMeta;
  /** Several, joined by commas. */
  readonly isList: boolean;
}

/** Every name there is: one for each scalar and each list of scalars outside `services`. */
export function environmentNames(shape: Shape, path: readonly string[] = []): EnvironmentName[] {
  if (shape.kind === 'leaf') return named(shape.meta, path, false);
  if (shape.kind === 'list') return scalarsOf(shape.item).flatMap((meta) => named(meta, path, true));
  if (shape.kind === 'choice') return shape.options.flatMap((option) => environmentNames(option, path));
  if (shape.kind === 'record') return [];
  return [...shape.fields].flatMap(([name, field]) => environmentNames(field, [...path, name]));
}

function named(meta: OptionMeta | undefined, path: readonly string[], isList: boolean): EnvironmentName[] {
  if (meta === undefined || meta.textAs === 'none') return [];
  return [{ name: nameOf(path), path, meta, isList }];
}

function scalarsOf(shape: Shape): OptionMeta[] {
  if (shape.kind === 'choice') return shape.options.flatMap(scalarsOf);
  return shape.kind === 'leaf' && shape.meta !== undefined ? [shape.meta] : [];
}

function nameOf(path: readonly string[]): string {
  return (
    PREFIX + path.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('_')
  );
}

/** Reads the environment into the draft. An empty variable counts as not set. */
export function takeEnvironment(draft: Draft, env: Environment, cwd: string): void {
  // Shorter paths first: `KAFKA_SSL=true` beside `KAFKA_SSL_CA` then means TLS with that authority.
  const names = environmentNames(draft.root).toSorted((a, b) => a.path.length - b.path.length);
  for (const option of names) {
    const text = env[option.name] ?? '';
    const file = option.meta.secret === undefined ? '' : (env[`${option.name}_FILE`] ?? '');
    const source = `env ${option.name}`;
    if (text !== '' && file !== '') {
      const message = `${option.name} and ${option.name}_FILE are both set; allowed is one of them`;
      draft.problems.push({ path: `env ${option.name}_FILE`, value: undefined, source, message });
    } else if (text !== '') draft.put(option.path, readText(option, text), source);
    else if (file !== '') {
      const content = readSecretFile(draft, option.path, file, cwd, `env ${option.name}_FILE`);
      if (content !== undefined) draft.put(option.path, readText(option, content), `env ${option.name}_FILE`);
    }
  }
}

/** Finds misspelt names. @param referenced names that the configuration itself refers to, which may begin alike */
export function refuseUnknownNames(draft: Draft, env: Environment, referenced: ReadonlySet<string>): void {
  const known = environmentNames(draft.root).flatMap(({ name, meta }) =>
    meta.secret === undefined ? [name] : [name, `${name}_FILE`],
  );
  const allowed = new Set([...known, ...Object.keys(OTHER_NAMES), ...referenced]);
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || name.startsWith(TEST_PREFIX) || allowed.has(name) || !value) continue;
    const message = `there is no such option.${didYouMean(name, known)} All names are in docs/options.md.`;
    draft.problems.push({ path: name, value: undefined, source: 'env', message });
  }
}

/** Text as the option takes it. What is no number or boolean stays text: the schema then says what is allowed. */
export function readText({ meta, isList }: Pick<EnvironmentName, 'meta' | 'isList'>, text: string): unknown {
  if (!isList) return readScalar(meta, text);
  const items = text.split(/[,\n]/).map((item) => item.trim());
  return items.filter((item) => item !== '').map((item) => readScalar(meta, item));
}

function readScalar({ textAs }: OptionMeta, text: string): unknown {
  const trimmed = text.trim();
  if (textAs === 'number' && /^-?\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (textAs === 'boolean' && (trimmed === 'true' || trimmed === 'false')) return trimmed === 'true';
  return trimmed;
}

/** The environment without the names of options: where references (`{ "env": "SHOP_TOKEN" }`) are looked up. */
export function environmentOfReferences(): Environment {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CACHEWRIGHT_')));
}
