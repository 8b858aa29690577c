/**
 * The record that a message itself carries.
 */
import { fail, reasonOf } from '../core/errors.ts';
import { pointerOf, sliceAt, valueAt } from '../core/json-text.ts';
import type { CheckResult, Service } from '../core/service.ts';
import type { Body } from './parse-body.ts';

/** The record's text byte for byte as it came, unless the service's record schema makes something else of it. */
export function inlineRecord(
  service: Service,
  body: Body,
  pointer: readonly string[] | undefined,
): string | Promise<string> {
  if (pointer === undefined) return checkedRecord(service, body.text, body.value);
  const value = valueAt(body.value, pointer);
  const text = sliceAt(body.text, pointer);
  if (value === undefined || value === null || text === undefined) {
    throw fail('E_MESSAGE_INVALID', { issues: `there is no record at ${pointerOf(pointer)}` });
  }
  return checkedRecord(service, text, value);
}

/** Applies the service's record schema to a record. */
export function checkedRecord(service: Service, text: string, value: unknown): string | Promise<string> {
  const checked = service.checkRecord?.(value);
  if (checked === undefined) return text;
  if (checked instanceof Promise) return checked.then((result) => textOfChecked(result, text));
  return textOfChecked(checked, text);
}

/** Throws `E_MESSAGE_INVALID` with what a schema found wrong. */
export function refuseInvalid(result: CheckResult): asserts result is CheckResult & { readonly ok: true } {
  if (!result.ok) throw fail('E_MESSAGE_INVALID', { issues: result.issues.join('; ') });
}

function textOfChecked(result: CheckResult, text: string): string {
  refuseInvalid(result);
  return result.transformed ? jsonOf(result.value) : text;
}

function jsonOf(value: unknown): string {
  let text: unknown;
  try {
    text = JSON.stringify(value);
  } catch (thrown) {
    const issues = `what the record schema returned cannot be written as JSON: ${reasonOf(thrown)}`;
    throw fail('E_MESSAGE_INVALID', { issues }, { cause: thrown });
  }
  // Functions and undefined have no JSON, whatever the declared type of `JSON.stringify` says.
  if (typeof text === 'string') return text;
  throw fail('E_MESSAGE_INVALID', { issues: 'the record schema returned nothing' });
}
