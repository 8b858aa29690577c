/** The schema as plain data: what the environment, the masks, the problems and the documentation walk over. */
import { z } from 'zod';
import { type OptionMeta, optionMeta } from './option.ts';

/** Names and indexes that lead to a value: `['kafka', 'topics', 0, 'id']`. */
export type Path = readonly (string | number)[];

interface Common {
  readonly meta: OptionMeta | undefined;
  /** As an input would write it; undefined: none. */
  readonly defaultValue: unknown;
  /** True when the option need not be given. */
  readonly isOptional: boolean;
}

export type Shape = Common &
  (
    | { readonly kind: 'leaf' }
    | { readonly kind: 'section'; readonly fields: ReadonlyMap<string, Shape> }
    | { readonly kind: 'record'; readonly item: Shape }
    | { readonly kind: 'list'; readonly item: Shape }
    | { readonly kind: 'choice'; readonly options: readonly Shape[] }
  );

/** Describes a schema. Wrappers (optional, default, transform) are looked through; what can be given as text is a leaf. */
export function shapeOf(schema: z.core.$ZodType): Shape {
  let at = schema;
  let meta = optionMeta.get(at);
  let defaultValue: unknown;
  let isOptional = false;
  for (;;) {
    if (at instanceof z.ZodDefault || at instanceof z.ZodPrefault) {
      defaultValue ??= at.def.defaultValue;
      isOptional = true;
      at = at.def.innerType;
    } else if (at instanceof z.ZodOptional) {
      isOptional = true;
      at = at.def.innerType;
    } else if (at instanceof z.ZodPipe && !isText(meta)) {
      at = at.def.in;
    } else break;
    meta ??= optionMeta.get(at);
  }
  return { ...(isText(meta) ? LEAF : partsOf(at)), meta, defaultValue, isOptional };
}

type Parts = Shape extends infer Each ? (Each extends Shape ? Omit<Each, keyof Common> : never) : never;
const LEAF: Parts = { kind: 'leaf' };

function isText(meta: OptionMeta | undefined): boolean {
  return meta !== undefined && meta.textAs !== 'none';
}

function partsOf(schema: z.core.$ZodType): Parts {
  if (schema instanceof z.ZodObject) {
    const shape: Readonly<Record<string, z.core.$ZodType>> = schema.def.shape;
    const fields = Object.entries(shape).map(([name, field]) => [name, shapeOf(field)] as const);
    return { kind: 'section', fields: new Map(fields) };
  }
  if (schema instanceof z.ZodRecord) return { kind: 'record', item: shapeOf(schema.def.valueType) };
  if (schema instanceof z.ZodArray) return { kind: 'list', item: shapeOf(schema.def.element) };
  if (schema instanceof z.ZodUnion) return { kind: 'choice', options: schema.def.options.map(shapeOf) };
  return LEAF;
}

/** The part of a choice that a value is meant for: by its tag, or by being an object, a list or neither. */
export function pick(shape: Shape, value: unknown): Shape {
  if (shape.kind !== 'choice') return shape;
  const fitting = shape.options.filter((option) => fits(option, value));
  const chosen = fitting.find((option) => hasTagOf(option, value)) ?? fitting[0] ?? shape.options[0];
  return chosen === undefined ? shape : pick(chosen, value);
}

function fits(shape: Shape, value: unknown): boolean {
  if (shape.kind === 'list') return Array.isArray(value);
  if (shape.kind === 'section' || shape.kind === 'record') return isPlainObject(value);
  return shape.kind === 'choice' || !isPlainObject(value);
}

function hasTagOf(shape: Shape, value: unknown): boolean {
  if (shape.kind !== 'section' || !isPlainObject(value)) return false;
  return [...shape.fields].some(
    ([name, { meta }]) => meta?.tag?.some((known) => known === value[name]) ?? false,
  );
}

/** The shape below a shape; undefined when there is none of that name. */
export function childOf(shape: Shape, name: string | number): Shape | undefined {
  switch (shape.kind) {
    case 'section':
      return shape.fields.get(String(name));
    case 'record':
    case 'list':
      return shape.item;
    default:
      return undefined;
  }
}

/** The shape at a path of a value, not yet {@link pick}ed; undefined where the schema knows nothing. */
export function shapeAt(root: Shape, path: Path, value: unknown): Shape | undefined {
  let shape: Shape | undefined = root;
  let at = value;
  for (const name of path) {
    shape = childOf(pick(shape, at), name);
    at = valueOf(at, name);
    if (shape === undefined) return undefined;
  }
  return shape;
}

/** Rebuilds a value with each of its leaves as `visit` gives it back; what the schema does not know stays as it is. */
export function mapLeaves(
  shape: Shape,
  value: unknown,
  visit: (shape: Shape, value: unknown, path: Path) => unknown,
  path: Path = [],
): unknown {
  const at = pick(shape, value);
  const mapItem = (item: unknown, name: string | number): unknown => {
    const child = childOf(at, name);
    return child === undefined ? item : mapLeaves(child, item, visit, [...path, name]);
  };
  if (at.kind === 'list' && Array.isArray(value)) return value.map(mapItem);
  if ((at.kind === 'section' || at.kind === 'record') && isPlainObject(value))
    return mapObject(value, mapItem);
  return visit(at, value, path);
}

/** A copy of an object with every value replaced. */
export function mapObject<Result>(
  value: Readonly<Record<string, unknown>>,
  replace: (item: unknown, name: string) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replace(item, name)]));
}

/** The value at a path; undefined when there is none. */
export function valueAtPath(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(valueOf, value);
}

function valueOf(value: unknown, name: string | number): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/** Neither a list, a class's instance nor a schema (which may be a plain object too). */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || '~standard' in value) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** `kafka.topics[0].id`; names that are no words stand in brackets: `services["a b"]`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, name) => {
    if (typeof name === 'number') return `${text}[${name}]`;
    if (!/^[\w$-]+$/.test(name)) return `${text}[${JSON.stringify(name)}]`;
    return text === '' ? name : `${text}.${name}`;
  }, '');
}
