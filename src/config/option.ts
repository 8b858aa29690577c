/**
 * The parts the schema is made of: zod schemas that also carry what a person needs to know. What is registered here ends
 * in docs/options.md and in the problems people read, so each option is described once.
 */
import { z } from 'zod';
import { formatBytes, formatCount, formatDuration, parseDuration } from './durations.ts';

export interface OptionMeta {
  /** Effect, unit and the cost of changing it. */
  readonly doc: string;
  /** Completes "allowed is …". */
  readonly allowed: string;
  /** How text of the environment or of a flag is read; `none`: it cannot be given there. */
  readonly textAs: 'text' | 'number' | 'boolean' | 'none';
  /** `all`: shown as `***` · `password`: an address whose password is. Either may also be given as a {@link Reference}. */
  readonly secret?: 'all' | 'password';
  /** A string is the path of a JSON file whose content takes its place. */
  readonly isJsonFile?: boolean;
  /** The field that tells the variants of a section apart, and its values here. */
  readonly tag?: readonly string[];
  /** Shows a default to people. */
  readonly show?: (value: unknown) => string;
}

export const optionMeta = z.registry<OptionMeta>();

/** Stands where a secret may: the value of an environment variable, or the content of a file. */
export type Reference = { readonly env: string } | { readonly file: string };

function withMeta<Schema extends z.ZodType>(schema: Schema, meta: OptionMeta): Schema {
  optionMeta.add(schema, meta);
  return schema;
}

export function text(doc: string, allowed = 'a non-empty text'): z.ZodString {
  return withMeta(z.string().trim().min(1), { doc, allowed, textAs: 'text' });
}

/**
 * A text that a function judges.
 *
 * @param problemOf what is wrong, as a sentence; undefined: nothing
 */
export function checkedText(
  doc: string,
  allowed: string,
  problemOf: (value: string) => string | undefined,
): z.ZodString {
  const schema = z.string().superRefine((value, context) => {
    const problem = problemOf(value);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });
  return withMeta(schema, { doc, allowed, textAs: 'text' });
}

export function integer(
  range: { readonly min: number; readonly max?: number; readonly unit?: 'bytes' },
  doc: string,
): z.ZodNumber {
  const { min, max = Number.MAX_SAFE_INTEGER, unit } = range;
  const show = unit === 'bytes' ? formatBytes : formatCount;
  const bounds = range.max === undefined ? `at least ${show(min)}` : `from ${show(min)} to ${show(max)}`;
  return withMeta(z.int().min(min).max(max), {
    doc,
    allowed: unit === 'bytes' ? `a whole number of bytes, ${bounds}` : `a whole number ${bounds}`,
    textAs: 'number',
    show: (value) => (typeof value === 'number' ? show(value) : String(value)),
  });
}

export function decimal(min: number, max: number, doc: string): z.ZodNumber {
  return withMeta(z.number().min(min).max(max), {
    doc,
    allowed: `a number from ${min} to ${max}`,
    textAs: 'number',
  });
}

export function yesOrNo(doc: string): z.ZodBoolean {
  return withMeta(z.boolean(), { doc, allowed: 'true or false', textAs: 'boolean' });
}

export function oneOf<const Values extends readonly string[]>(
  values: Values,
  doc: string,
): z.ZodEnum<{ [Value in Values[number]]: Value }> {
  return withMeta(z.enum(values), { doc, allowed: values.map(quoted).join(' or '), textAs: 'text' });
}

/** Like {@link oneOf}, for the field that tells the variants of a section apart. */
export function tag<const Values extends readonly string[]>(
  values: Values,
  doc: string,
): z.ZodEnum<{ [Value in Values[number]]: Value }> {
  return withMeta(z.enum(values), {
    doc,
    allowed: values.map(quoted).join(' or '),
    textAs: 'text',
    tag: values,
  });
}

export type Duration = z.ZodPipe<
  z.ZodUnion<readonly [z.ZodNumber, z.ZodString]>,
  z.ZodTransform<number, number | string>
>;

/** A duration: milliseconds, or text with a unit; milliseconds in the resolved configuration. */
export function duration(min: string, max: string, doc: string): Duration {
  const [minMs = 0, maxMs = 0] = [parseDuration(min), parseDuration(max)];
  const allowed = `a duration from ${formatDuration(minMs)} to ${formatDuration(maxMs)}: milliseconds, or text such as '500ms', '30s', '2m', '1h', '1d'`;
  const toMs = (value: number | string, context: z.RefinementCtx): number => {
    const ms = typeof value === 'number' ? value : parseDuration(value);
    if (ms !== undefined && Number.isInteger(ms) && ms >= minMs && ms <= maxMs) return ms;
    context.addIssue({ code: 'custom', message: `allowed is ${allowed}` });
    return z.NEVER;
  };
  return withMeta(z.union([z.number(), z.string()] as const).transform(toMs), {
    doc,
    allowed,
    textAs: 'number',
    show: (value) => formatDuration(typeof value === 'number' ? value : (parseDuration(String(value)) ?? 0)),
  });
}

export type Secret = z.ZodPipe<
  z.ZodUnion<readonly [z.ZodString, z.ZodObject<{ env: z.ZodString }>, z.ZodObject<{ file: z.ZodString }>]>,
  z.ZodTransform<string, string | Reference>
>;

/** A text that is never shown and may be given as a {@link Reference}, which is looked up before the schema sees it. */
export function secret(
  doc: string,
  options: {
    readonly hides?: 'all' | 'password';
    readonly allowed?: string;
    readonly problemOf?: (value: string) => string | undefined;
  } = {},
): Secret {
  const { hides = 'all', allowed = 'a non-empty text', problemOf } = options;
  const reference = `{ "env": "NAME" } or { "file": "path" }`;
  const given = z.union([
    z.string(),
    z.strictObject({ env: z.string() }),
    z.strictObject({ file: z.string() }),
  ] as const);
  const toText = (value: string | Reference, context: z.RefinementCtx): string => {
    const problem = typeof value !== 'string' || value === '' ? `allowed is ${allowed}` : problemOf?.(value);
    if (typeof value === 'string' && problem === undefined) return value;
    context.addIssue({ code: 'custom', message: problem ?? '' });
    return z.NEVER;
  };
  return withMeta(given.transform(toText), {
    doc,
    allowed: `${allowed}, ${reference}`,
    textAs: 'text',
    secret: hides,
  });
}

/** A value that only a configuration in TypeScript or JavaScript can hold. */
export function func<Type>(doc: string): z.ZodCustom<Type, Type> {
  const schema = z.custom<Type>((value) => typeof value === 'function');
  return withMeta(schema, {
    doc,
    allowed: 'a function (configuration in TypeScript or JavaScript only)',
    textAs: 'none',
  });
}

export function list<Item extends z.ZodType>(item: Item, doc: string, atLeast = 0): z.ZodArray<Item> {
  return withMeta(z.array(item).min(atLeast), {
    doc,
    allowed: atLeast === 0 ? 'a list' : `a list of at least ${atLeast}`,
    textAs: 'none',
  });
}

/** A group of options; keys that are not among them are problems. */
export function section<Fields extends z.ZodRawShape>(
  fields: Fields,
  doc: string,
): z.ZodObject<Fields, z.core.$strict> {
  const allowed = `an object with ${Object.keys(fields).join(', ')}`;
  return withMeta(z.strictObject(fields), { doc, allowed, textAs: 'none' });
}

export type Maybe<Schema extends z.ZodType> = z.ZodPipe<
  z.ZodOptional<Schema>,
  z.ZodTransform<z.output<Schema> | undefined, z.output<Schema> | undefined>
>;

/** An option without a default: the resolved field is there, and undefined. */
export function maybe<Schema extends z.ZodType>(schema: Schema): Maybe<Schema> {
  return schema.optional().transform((value): z.output<Schema> | undefined => value);
}

function quoted(value: string): string {
  return JSON.stringify(value);
}
