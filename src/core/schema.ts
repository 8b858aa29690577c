import { reasonOf } from './errors.ts';
import { isContainer } from './json-text.ts';
import type { Check, CheckResult } from './service.ts';

/**
 * What is needed of a Standard Schema v1 (standardschema.dev): zod, valibot, arktype and others are one. Declared here
 * because the core imports nothing.
 */
export interface StandardSchema {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
  };
}

type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * The check of a schema.
 *
 * A schema has transformed a value when what it returns says something else in JSON; then the result is stored in the
 * place of the bytes that came. A validator that throws has found the value wrong.
 */
export function checkOf(schema: StandardSchema): Check {
  const { validate } = schema['~standard'];
  return (value) => {
    try {
      const result = validate(value);
      if (result instanceof Promise) return result.then((late) => judge(value, late), failed);
      return judge(value, result);
    } catch (thrown) {
      return failed(thrown);
    }
  };
}

function judge(input: unknown, result: SchemaResult): CheckResult {
  if (result.issues !== undefined) return { ok: false, issues: result.issues.map(sentenceOf) };
  const { value } = result;
  return { ok: true, transformed: value !== input && !isSameJson(input, value), value };
}

function failed(thrown: unknown): CheckResult {
  return { ok: false, issues: [`the schema failed: ${reasonOf(thrown)}`] };
}

/** `lines/0/price: Expected number`. */
function sentenceOf({ message, path }: SchemaIssue): string {
  if (path === undefined || path.length === 0) return message;
  return `${path.map((part) => String(typeof part === 'object' ? part.key : part)).join('/')}: ${message}`;
}

/** True when both values are the same JSON, whatever the order of names. `a` comes from `JSON.parse`. */
function isSameJson(a: unknown, b: unknown): boolean {
  const pairs: [unknown, unknown][] = [[a, b]];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [left, right] = pair;
    if (left === right) continue;
    if (!isContainer(left) || !isContainer(right)) return false;
    if (Array.isArray(left) !== Array.isArray(right) || !isPlain(right)) return false;
    const names = Object.keys(left);
    const others = Object.entries(right).filter(([, value]) => value !== undefined);
    if (names.length !== others.length) return false;
    for (const [name, value] of others) {
      if (!Object.hasOwn(left, name)) return false;
      pairs.push([left[name], value]);
    }
  }
  return true;
}

/** A class may serialise itself in its own way. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || prototype === Array.prototype;
}
