/**
 * The JSON of a message: caps before anything is parsed, and no key that could alter prototypes.
 */
import { scan } from 'secure-json-parse';
import type { Message } from '../core/change.ts';
import { fail, reasonOf } from '../core/errors.ts';
import { checkDepth, hasUnsafeNumber } from '../core/json-text.ts';
import type { Clock } from '../core/ports.ts';
import type { Service, TopicMapping } from '../core/service.ts';

export interface ParseOptions {
  readonly services: ReadonlyMap<string, Service>;
  /** How the messages of a stream are read; asked when the stream is another than the last message's. */
  readonly mappingOf: (stream: string) => TopicMapping;
  readonly limits: {
    /** Bytes a message's value may have. */
    readonly maxMessageBytes: number;
    /** Levels of arrays and objects it may nest. */
    readonly maxDepth: number;
  };
  readonly clock: Clock;
}

/** A JSON text and what it says. */
export interface Body {
  readonly text: string;
  readonly value: unknown;
  /** True when a number must be read from the text, since `JSON.parse` may have rounded it. */
  readonly hasUnsafeNumber: boolean;
}

/** Throws `E_MESSAGE_TOO_LARGE`. */
export function refuseLarge({ value }: Message, max: number): void {
  if (value === null) return;
  const isText = typeof value === 'string';
  const length = isText ? value.length : value.base64.length;
  // A UTF-16 unit has at most three bytes in UTF-8: short texts need no counting.
  if (length * 3 <= max) return;
  const bytes = isText ? Buffer.byteLength(value) : Buffer.byteLength(value.base64, 'base64');
  if (bytes > max) throw fail('E_MESSAGE_TOO_LARGE', { bytes, max });
}

/** The JSON object of a message. */
export function bodyOf({ value: text }: Message, maxDepth: number): Body {
  if (text === null || text === '') throw fail('E_MESSAGE_EMPTY');
  if (typeof text !== 'string') throw fail('E_MESSAGE_NOT_UTF8');
  const body = readJson(text, maxDepth);
  const { value } = body;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fail('E_MESSAGE_NOT_OBJECT', { type: typeOf(value) });
  }
  return body;
}

/** Any JSON; throws `E_MESSAGE_TOO_DEEP`, `E_MESSAGE_NOT_JSON` and `E_MESSAGE_FORBIDDEN_KEY`. */
export function readJson(text: string, maxDepth: number): Body {
  if (!checkDepth(text, maxDepth)) throw fail('E_MESSAGE_TOO_DEEP', { max: maxDepth });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw fail('E_MESSAGE_NOT_JSON', { reason: reasonOf(thrown) }, { cause: thrown });
  }
  if (mayHoldForbiddenKey(text)) refuseForbiddenKeys(value);
  return { text, value, hasUnsafeNumber: hasUnsafeNumber(text) };
}

/** Both forbidden forms hold one of these words, or spell it with escapes. */
function mayHoldForbiddenKey(text: string): boolean {
  return text.includes('__proto__') || text.includes('prototype') || text.includes('\\u00');
}

function refuseForbiddenKeys(value: unknown): void {
  refuseWhenThrown('__proto__', () => scan({ value }, { constructorAction: 'ignore' }));
  refuseWhenThrown('constructor.prototype', () => scan({ value }, { protoAction: 'ignore' }));
}

function refuseWhenThrown(name: string, look: () => unknown): void {
  try {
    look();
  } catch (thrown) {
    throw fail('E_MESSAGE_FORBIDDEN_KEY', { name }, { cause: thrown });
  }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}
