import { configShape, type ResolvedConfig } from './resolve.ts';
import { masked } from './secrets.ts';
import { formatPath, isPlainObject, type Path } from './shape.ts';

export interface ConfigEntry {
  readonly path: string;
  /** Secrets as `***`. */
  readonly value: unknown;
  readonly source: string;
}

/** The resolved configuration as JSON, secrets as `***`. */
export function printConfig({ config }: Pick<ResolvedConfig, 'config'>): string {
  return JSON.stringify(masked(configShape, config), null, 2);
}

/** Every value with where it came from, in the order of the schema. */
export function configEntries({
  config,
  sourceOf,
}: Pick<ResolvedConfig, 'config' | 'sourceOf'>): ConfigEntry[] {
  return entriesOf(masked(configShape, config), [], sourceOf);
}

/** `http.port = 8080  (env CACHEWRIGHT_HTTP_PORT)`, a line per value. */
export function printSources(resolved: Pick<ResolvedConfig, 'config' | 'sourceOf'>): string {
  return configEntries(resolved)
    .map(({ path, value, source }) => `${path} = ${JSON.stringify(value) ?? 'none'}  (${source})`)
    .join('\n');
}

function entriesOf(value: unknown, path: Path, sourceOf: ResolvedConfig['sourceOf']): ConfigEntry[] {
  if (Array.isArray(value) && value.some(isPlainObject)) {
    return value.flatMap((item, index) => entriesOf(item, [...path, index], sourceOf));
  }
  if (isPlainObject(value) && Object.keys(value).length > 0) {
    return Object.entries(value).flatMap(([name, item]) => entriesOf(item, [...path, name], sourceOf));
  }
  return [{ path: formatPath(path), value, source: sourceOf(path) }];
}
