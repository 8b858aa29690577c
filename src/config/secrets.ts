/** What people are shown of a value: never a secret. */
import type { OptionMeta } from './option.ts';
import { mapLeaves, type Shape } from './shape.ts';

export const MASK = '***';
/** Characters of a value that a problem shows. */
const MAX_SHOWN = 120;

/** The value with its secrets masked and its functions named, fit for JSON. */
export function masked(shape: Shape, value: unknown): unknown {
  return mapLeaves(shape, value, ({ meta }, leaf) => maskLeaf(meta, leaf));
}

/** The value in one short line; undefined for none. */
export function shown(shape: Shape, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const line = JSON.stringify(masked(shape, value)) ?? typeof value;
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line;
}

function maskLeaf(meta: OptionMeta | undefined, value: unknown): unknown {
  if (typeof value === 'function') return '[function]';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'object' && value !== null && meta?.isJsonFile === true) return describeSchema(value);
  if (value === undefined || meta?.secret === undefined) return value;
  return meta.secret === 'password' && typeof value === 'string' ? maskUrl(value) : MASK;
}

/** An address with its password as `***`; all of it where its parts cannot be told apart. */
export function maskUrl(url: string): string {
  const parts = /^([a-z+]+:\/\/)(?:([^:@/]*)(:[^@/]*)?@)?([^@]*)$/i.exec(url);
  if (parts === null) return url.includes('@') ? MASK : url;
  const [, scheme = '', user, password, rest = ''] = parts;
  // A lone name before the "@" may be a token.
  const credentials = user === undefined ? '' : `${password === undefined ? MASK : `${user}:${MASK}`}@`;
  return scheme + credentials + rest.replace(/([?&][^=&]*pass[^=&]*=)[^&]*/gi, `$1${MASK}`);
}

function describeSchema(value: object): unknown {
  return 'kind' in value && value.kind === 'json' && 'schema' in value ? value.schema : '[schema]';
}
