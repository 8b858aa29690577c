import type { ErrorCode } from '../core/errors.ts';
import { didYouMean } from './did-you-mean.ts';
import { childOf, formatPath, isPlainObject, type Path, pick, type Shape, valueAtPath } from './shape.ts';

export interface Problem {
  readonly path: string;
  /** As it was given, secrets masked; undefined: nothing was given, or it is better not shown. */
  readonly value: string | undefined;
  /** `flag --http-port` · `env CACHEWRIGHT_HTTP_PORT` · `file cachewright.config.json` · `default` */
  readonly source: string;
  /** What is allowed, as a sentence. */
  readonly message: string;
  /** When the problem has an error code of its own. */
  readonly code?: ErrorCode;
}

type Values = Record<string, unknown>;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The configuration while it is put together: values as they were given, and where each came from. Later layers replace
 * what earlier ones gave.
 */
export class Draft {
  readonly root: Shape;
  value: unknown = {};
  readonly problems: Problem[] = [];
  /** Path → label, also of the sections on the way. */
  readonly #labels = new Map<string, string>();

  constructor(root: Shape) {
    this.root = root;
  }

  /** Takes the whole of a layer: the content of a file, or what a program gave. */
  take(input: unknown, label: string): void {
    this.value = this.#copy(this.root, input, [], label);
  }

  /** Replaces the value at a path, making the sections on the way. */
  put(path: Path, value: unknown, label: string): void {
    const place = formatPath(path);
    for (const known of this.#labels.keys()) {
      if (known.startsWith(`${place}.`) || known.startsWith(`${place}[`)) this.#labels.delete(known);
    }
    for (let length = 0; length < path.length; length += 1) {
      const above = formatPath(path.slice(0, length));
      if (!this.#labels.has(above)) this.#labels.set(above, label);
    }
    this.#labels.set(place, label);
    this.value = replaced(this.value, path, value);
  }

  /** Notes that a value came by way of something else: `file cachewright.config.json → env SHOP_TOKEN`. */
  via(path: Path, way: string): void {
    this.#labels.set(formatPath(path), `${this.placeOf(path)} → ${way}`);
  }

  /** Where the value at a path came from; `default` when nobody gave it. What lies inside a list or a short form came with it. */
  sourceOf(path: Path): string {
    for (let length = path.length; length > 0; length -= 1) {
      const at = path.slice(0, length);
      const label = this.#labels.get(formatPath(at));
      if (label !== undefined) {
        return length === path.length || !isPlainObject(valueAtPath(this.value, at)) ? label : 'default';
      }
    }
    return 'default';
  }

  /** Where a person would change the value at a path: its own source, or that of the nearest section around it. */
  placeOf(path: Path): string {
    for (let length = path.length; length >= 0; length -= 1) {
      const label = this.#labels.get(formatPath(path.slice(0, length)));
      if (label !== undefined) return label;
    }
    return 'default';
  }

  #copy(shape: Shape | undefined, value: unknown, path: Path, label: string): unknown {
    this.#labels.set(formatPath(path), label);
    if (shape === undefined) return value;
    const at = pick(shape, value);
    if (Array.isArray(value) && at.kind === 'list') {
      return value.map((item, index) => this.#copy(at.item, item, [...path, index], label));
    }
    if (!isPlainObject(value) || at.kind === 'leaf') return value;
    const copy: Values = {};
    for (const [name, item] of Object.entries(value)) {
      if (name === '__proto__') this.#refuse([...path, name], label, at);
      else copy[name] = this.#copy(childOf(at, name), item, [...path, name], label);
    }
    return copy;
  }

  #refuse(path: Path, source: string, at: Shape): void {
    const known = at.kind === 'section' ? [...at.fields.keys()] : [];
    const message = `there is no such option.${didYouMean(String(path.at(-1)), known)}`;
    this.problems.push({ path: formatPath(path), value: undefined, source, message });
  }
}

/** A copy of a value with another at a path. */
export function replaced(value: unknown, [name, ...rest]: Path, by: unknown): unknown {
  if (name === undefined) return by;
  if (Array.isArray(value)) {
    return value.map((item, index) => (index === name ? replaced(item, rest, by) : item));
  }
  const object = isPlainObject(value) ? value : {};
  return { ...object, [name]: replaced(object[name], rest, by) };
}

/** A copy of a value without what stands at a path. Of a list all is removed, so that places keep their meaning. */
export function without(value: unknown, path: Path): unknown {
  const [name, ...rest] = path;
  if (!isPlainObject(value) || name === undefined || !(name in value)) return value;
  const isLast = rest.length === 0 || typeof rest[0] === 'number';
  if (!isLast) return { ...value, [name]: without(value[name], rest) };
  const { [name]: _, ...others } = value;
  return others;
}
