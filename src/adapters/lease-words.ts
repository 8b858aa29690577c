/** What stands in a lease: `1h<token>` held · `1a` the record is absent · `1f{"code","details"}` reading it failed. */
import { type CachewrightError, fail, isErrorCode } from '../core/errors.ts';
import type { LeaseState, LeaseWord } from '../core/ports.ts';

type Word = Exclude<LeaseWord, { kind: 'free' }> | { readonly kind: 'held'; readonly token: string };

const FORMAT = '1';

export function encodeWord(word: Word): string {
  if (word.kind === 'held') return `${FORMAT}h${word.token}`;
  return word.kind === 'absent' ? `${FORMAT}a` : `${FORMAT}f${failureText(word.error)}`;
}

/** A text of another version, or of another program, counts as held: it ends by itself. */
export function decodeWord(text: string): Exclude<LeaseState, { kind: 'acquired' }> {
  const kind = text.slice(0, 2);
  if (kind === `${FORMAT}a`) return { kind: 'absent' };
  const error = kind === `${FORMAT}f` ? failureOf(text.slice(2)) : undefined;
  return error === undefined ? { kind: 'held' } : { kind: 'failed', error };
}

/** What an error's message is made of; everything else of it stays in its own process. */
function failureText({ code, details }: CachewrightError): string {
  const told = Object.entries(details).filter(([, value]) => ['string', 'number'].includes(typeof value));
  return JSON.stringify({ code, details: Object.fromEntries(told) });
}

function failureOf(text: string): CachewrightError | undefined {
  try {
    const { code, details } = JSON.parse(text) as { code: string; details: Record<string, unknown> };
    return isErrorCode(code) ? fail(code, details) : undefined;
  } catch {
    return undefined;
  }
}
