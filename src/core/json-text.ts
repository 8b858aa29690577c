/**
 * Work on JSON source text, so that numbers and records keep the bytes they came with. Everything but
 * {@link checkDepth} assumes text that `JSON.parse` has accepted; nothing recurses.
 */

/** The tokens of an RFC 6901 pointer: `/a~1b/0` → `a/b`, `0`; the empty pointer has none. */
export function pointerTokens(pointer: string): string[] {
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) throw new Error(`a JSON pointer begins with "/": ${JSON.stringify(pointer)}`);
  if (/~(?![01])/.test(pointer)) {
    throw new Error(`in a JSON pointer "~" stands only in "~0" and "~1": ${JSON.stringify(pointer)}`);
  }
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** The pointer of tokens. */
export function pointerOf(tokens: readonly string[]): string {
  return tokens.map((token) => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** The value at a place; undefined when there is none. Only a value's own fields count, never inherited ones. */
export function valueAt(value: unknown, tokens: readonly string[]): unknown {
  let at = value;
  for (const token of tokens) {
    if (!isContainer(at) || !Object.hasOwn(at, token)) return undefined;
    if (Array.isArray(at) && !arrayIndex.test(token)) return undefined;
    at = at[token];
  }
  return at;
}

/** True for objects and arrays, both of which are read by name. */
export function isContainer(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The source text of the value at a place; undefined when there is none. Of repeated names the last counts, as for `JSON.parse`. */
export function sliceAt(text: string, tokens: readonly string[]): string | undefined {
  let start = skipSpace(text, 0);
  let end = -1;
  for (const token of tokens) {
    let found = -1;
    eachItem(text, start, (name, index, from, to) => {
      if (name === undefined ? token === String(index) : name === token) {
        found = from;
        end = to;
      }
    });
    if (found === -1) return undefined;
    start = found;
  }
  return text.slice(start, end === -1 ? endOfValue(text, start) : end);
}

/** Source texts of an array's elements, or of an object's values, at a place; empty when neither is there. */
export function itemsAt(text: string, tokens: readonly string[]): string[] {
  const container = sliceAt(text, tokens);
  if (container === undefined) return [];
  const items = new Map<string | number, string>();
  eachItem(container, 0, (name, index, from, to) => {
    items.set(name ?? index, container.slice(from, to));
  });
  return [...items.values()];
}

/**
 * True when the text nests at most `maxDepth` arrays and objects. It may run before `JSON.parse`: exact for JSON, harmless
 * for anything else. Brackets inside strings do not count.
 */
export function checkDepth(text: string, maxDepth: number): boolean {
  return !hasMoreThan(text, maxDepth) || deepest(text, maxDepth) <= maxDepth;
}

/**
 * True when the text may hold a number that `JSON.parse` does not give back as it stands: 16 characters of digits and
 * points in a row, or an exponent. False positives (inside strings) are possible, false negatives are not.
 */
export function hasUnsafeNumber(text: string): boolean {
  return longNumber.test(text) || (perhapsExponent.test(text) && exponent.test(text));
}

const arrayIndex = /^(?:0|[1-9]\d*)$/;
/** Written out sixteen times, since a regular expression then skips ahead: ten times faster than `{16}`. */
const longNumber = new RegExp('[\\d.]'.repeat(16));
const perhapsExponent = /\d[eE][+-]?\d/;
/** Where a value may begin, so that identifiers in strings such as `"3e4f-…"` do not count. */
const exponent = /(?:^|[\s:,[])-?\d[\d.]*[eE]/;

const QUOTE = 34;
const COMMA = 44;
const OPEN_ARRAY = 91;
const BACKSLASH = 92;
const CLOSE_ARRAY = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

type VisitItem = (name: string | undefined, index: number, from: number, to: number) => void;

/** Visits the members of the object or the elements of the array that starts at `start`; nothing else has any. */
function eachItem(text: string, start: number, visit: VisitItem): void {
  const open = text.charCodeAt(start);
  if (open !== OPEN_OBJECT && open !== OPEN_ARRAY) return;
  let at = skipSpace(text, start + 1);
  for (let index = 0; !isClose(text.charCodeAt(at)) && at < text.length; index += 1) {
    let name: string | undefined;
    if (open === OPEN_OBJECT) {
      const end = endOfString(text, at);
      name = unquote(text.slice(at, end));
      at = skipSpace(text, skipSpace(text, end) + 1);
    }
    const end = endOfValue(text, at);
    visit(name, index, at, end);
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
  }
}

/** The index after the value that starts at `start`. */
function endOfValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return endOfString(text, start);
  if (first !== OPEN_OBJECT && first !== OPEN_ARRAY) return endOfScalar(text, start);
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if (code === OPEN_OBJECT || code === OPEN_ARRAY) depth += 1;
    else if (isClose(code)) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

/** The index after the closing quote of the string that starts at `start`: a quote after an even number of backslashes. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let before = at - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    if ((at - before) % 2 === 1) return at + 1;
  }
  return text.length;
}

function endOfScalar(text: string, start: number): number {
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === COMMA || isClose(code) || code <= 32) break;
    at += 1;
  }
  return at;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= 32) at += 1;
  return at;
}

function unquote(source: string): string {
  return source.includes('\\') ? String(JSON.parse(source)) : source.slice(1, -1);
}

function isClose(code: number): boolean {
  return code === CLOSE_OBJECT || code === CLOSE_ARRAY;
}

/** Counts opening brackets wherever they stand: cheap, and enough for nearly every message. */
function hasMoreThan(text: string, max: number): boolean {
  let count = 0;
  for (let at = text.indexOf('{'); at !== -1 && count <= max; at = text.indexOf('{', at + 1)) count += 1;
  for (let at = text.indexOf('['); at !== -1 && count <= max; at = text.indexOf('[', at + 1)) count += 1;
  return count > max;
}

/** The depth of the text, or the first depth beyond `max`. */
function deepest(text: string, max: number): number {
  let depth = 0;
  let most = 0;
  for (let at = 0; at < text.length && most <= max; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      depth += 1;
      most = Math.max(most, depth);
    } else if (isClose(code)) depth -= 1;
  }
  return most;
}
