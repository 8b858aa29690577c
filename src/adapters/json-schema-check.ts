import { Ajv, type AnySchemaObject, type ErrorObject, type Options } from 'ajv';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { fail, reasonOf } from '../core/errors.ts';
import type { Check } from '../core/service.ts';

/** Issues named of one value; more of them help nobody. */
const MAX_ISSUES = 10;

const options: Options = {
  allErrors: true,
  // A misspelt keyword is refused, not passed over; the other strict rules forbid useful schemas.
  strictSchema: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  // As the specification has it by default, `format` is a remark, not a rule.
  validateFormats: false,
  logger: false,
};

/**
 * The check of a JSON Schema: draft 2020-12, or 2019-09 or draft-07 when its `$schema` says so. It never alters a value.
 *
 * @throws `E_CONFIG_INVALID` when it cannot be compiled: unknown keywords, a `$ref` that leads out of the schema
 */
export function compileJsonSchema(schema: Readonly<Record<string, unknown>>): Check {
  const validate = compile(schema);
  return (value) => {
    if (validate(value) === true) return { ok: true, transformed: false, value };
    return { ok: false, issues: issuesOf(validate.errors ?? []) };
  };
}

function compile(schema: AnySchemaObject): ReturnType<Ajv['compile']> {
  try {
    if (schema['$async'] !== undefined) throw new Error('"$async" is not supported');
    return ajvFor(schema.$schema ?? '').compile(schema);
  } catch (thrown) {
    const problems = `the JSON Schema cannot be used: ${reasonOf(thrown)}`;
    throw fail('E_CONFIG_INVALID', { count: 1, problems }, { cause: thrown });
  }
}

function ajvFor(draft: string): Ajv {
  if (draft.includes('draft-07')) return new Ajv(options);
  return draft.includes('2019-09') ? new Ajv2019(options) : new Ajv2020(options);
}

function issuesOf(errors: readonly ErrorObject[]): string[] {
  const issues = errors.slice(0, MAX_ISSUES).map(sentenceOf);
  return errors.length > MAX_ISSUES ? [...issues, `and ${errors.length - MAX_ISSUES} more`] : issues;
}

/** `lines/0/price: must be number`, as schemas of other kinds say it. */
function sentenceOf({ instancePath, message = 'is not valid', params, keyword }: ErrorObject): string {
  const path = instancePath.slice(1).replaceAll('~1', '/').replaceAll('~0', '~');
  const sentence = `${message}${remarkOf(keyword, params)}`;
  return path === '' ? sentence : `${path}: ${sentence}`;
}

/** What the message of these keywords leaves out. */
function remarkOf(keyword: string, params: ErrorObject['params']): string {
  if (keyword === 'additionalProperties') return ` (${String(params['additionalProperty'])})`;
  if (keyword === 'enum') return ` (${JSON.stringify(params['allowedValues'])})`;
  return keyword === 'const' ? ` (${JSON.stringify(params['allowedValue'])})` : '';
}
