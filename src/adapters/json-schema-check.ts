import { Ajv2020 } from 'ajv/dist/2020.js';
import { fail, reasonOf } from '../core/errors.ts';
import type { Check } from '../core/service.ts';

/**
 * Compiles a JSON Schema (draft 2020-12) into a check. It never alters what it checks: no defaults, no coercion.
 *
 * @throws E_CONFIG_INVALID when the schema itself is wrong
 */
export function compileJsonSchema(schema: Readonly<Record<string, unknown>>): Check {
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false });
  try {
    const validate = ajv.compile(schema);
    return (value) =>
      validate(value)
        ? { ok: true, transformed: false, value }
        : {
            ok: false,
            issues: (validate.errors ?? []).map(
              ({ instancePath, message }) => `${instancePath || '/'} ${message}`,
            ),
          };
  } catch (thrown) {
    throw fail(
      'E_CONFIG_INVALID',
      { count: 1, problems: `a JSON Schema cannot be used: ${reasonOf(thrown)}` },
      { cause: thrown },
    );
  }
}
