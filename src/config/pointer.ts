import { pointerTokens } from '../core/json-text.ts';
import { reasonOf } from '../core/errors.ts';

export const POINTER = 'a JSON pointer such as "/after/id"';

/** What is wrong with a JSON pointer; undefined: nothing. */
export function checkPointer(value: string): string | undefined {
  try {
    pointerTokens(value);
    return undefined;
  } catch (thrown) {
    return `${reasonOf(thrown)}; allowed is ${POINTER}`;
  }
}

/** What is wrong with the place of a field: a name, or a pointer when it begins with "/". */
export function checkField(value: string): string | undefined {
  if (value === '') return 'allowed is the name of a field, or a JSON pointer such as "/after/version"';
  return value.startsWith('/') ? checkPointer(value) : undefined;
}
