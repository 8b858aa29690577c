/**
 * Cache keys: a service's template with every value escaped, so that no id can form another key, a glob or a hash tag.
 */
import { fail } from './errors.ts';

/** Redis takes more, but a key this long is a mistake, and it is stored twice (value and fence). */
const MAX_KEY_BYTES = 512;

const PLACEHOLDER = '{id}';
const safe = /^[A-Za-z0-9_.-]+$/;
/** What `encodeURIComponent` leaves alone although it is not in the safe set. */
const leftAlone = /[!'()*~]/g;
const printable = /^[!-~]*$/;

/**
 * What is wrong with a key template, or undefined when it is fine.
 *
 * A template holds `{id}` at least once; its other characters are printable ASCII without spaces and braces.
 */
export function checkKeyTemplate(template: string): string | undefined {
  const literals = template.split(PLACEHOLDER);
  if (literals.length < 2) return 'a key template needs the placeholder {id}';
  const other = /\{\w+\}/.exec(template.replaceAll(PLACEHOLDER, ' '));
  if (other !== null) return `the placeholder ${other[0]} is not known; only {id} is`;
  const text = literals.join('');
  if (/[{}]/.test(text)) return 'a key template has no braces but those of {id}';
  if (!printable.test(text)) return 'a key template is made of printable ASCII characters without spaces';
  if (text.length >= MAX_KEY_BYTES) return `a key has at most ${MAX_KEY_BYTES} bytes`;
  return undefined;
}

/**
 * The function that makes a service's keys. It is injective: two ids never have the same key.
 *
 * Ids of ASCII letters, digits, `_`, `-` and `.` pass unchanged (`product_info_200`); of others, every other character
 * is percent-encoded as UTF-8. It throws `E_KEY_INVALID` for an empty id, a lone surrogate, and keys over 512 bytes.
 *
 * @throws Error when the template is wrong, see {@link checkKeyTemplate}
 */
export function compileKeyTemplate(template: string): (id: string) => string {
  const problem = checkKeyTemplate(template);
  if (problem !== undefined) throw new Error(`${problem}: ${JSON.stringify(template)}`);
  const [prefix = '', ...others] = template.split(PLACEHOLDER);
  const [suffix = ''] = others;
  const join =
    others.length === 1
      ? (part: string) => prefix + part + suffix
      : (part: string) => [prefix, ...others].join(part);
  return (id) => {
    const key = join(safe.test(id) ? id : escape(id));
    if (key.length > MAX_KEY_BYTES) {
      throw fail('E_KEY_INVALID', { id, reason: `it has ${key.length} bytes, ${MAX_KEY_BYTES} are allowed` });
    }
    return key;
  };
}

/** Whether a key may be one that the template makes. */
export function compileKeyMatcher(template: string): (key: string) => boolean {
  const { prefix, suffix } = endsOf(template);
  const shortest = prefix.length + suffix.length;
  return (key) => key.length > shortest && key.startsWith(prefix) && key.endsWith(suffix);
}

/**
 * True when some id of one template and some id of the other may have the same key, as with `product_{id}` and
 * `product_info_{id}`: the id `info_200` of the first is 200 of the second. A separator that ids never hold, such as `:`,
 * keeps templates apart. Errs on the side of true for templates that name the id twice.
 */
export function mayShareKeys(one: string, other: string): boolean {
  const [a, b] = [endsOf(one), endsOf(other)];
  const prefixRest = restOf(a.prefix, b.prefix, (long, short) => long.startsWith(short), 'start');
  const suffixRest = restOf(a.suffix, b.suffix, (long, short) => long.endsWith(short), 'end');
  return prefixRest !== undefined && suffixRest !== undefined && isReachable(prefixRest + suffixRest);
}

function endsOf(template: string): { prefix: string; suffix: string } {
  return {
    prefix: template.slice(0, template.indexOf(PLACEHOLDER)),
    suffix: template.slice(template.lastIndexOf(PLACEHOLDER) + PLACEHOLDER.length),
  };
}

/** What the longer literal has beyond the shorter one; undefined when neither continues the other. */
function restOf(
  a: string,
  b: string,
  continues: (long: string, short: string) => boolean,
  at: 'start' | 'end',
): string | undefined {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a];
  if (!continues(long, short)) return undefined;
  return at === 'start' ? long.slice(short.length) : long.slice(0, long.length - short.length);
}

/** Escaped ids consist of safe characters and `%`; a literal with any other can never be part of one. */
function isReachable(rest: string): boolean {
  return /^[A-Za-z0-9_.%-]*$/.test(rest);
}

function escape(id: string): string {
  if (id === '') throw fail('E_KEY_INVALID', { id, reason: 'the id is empty' });
  if (!id.isWellFormed()) throw fail('E_KEY_INVALID', { id, reason: 'it holds half of a surrogate pair' });
  return encodeURIComponent(id).replace(
    leftAlone,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
