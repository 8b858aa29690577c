import { letterId, type LetterGroup, type LetterHead, type LetterSelection } from '../core/dead-letter.ts';
import type { DeadLetter, DeadLetterBox, StoredLetter } from '../core/ports.ts';

/** Letters read at once: their bytes are in memory only meanwhile. */
const PAGE = 500;

/** The letters that are meant, oldest first, without their bytes. */
export async function selectLetters(box: DeadLetterBox, selection: LetterSelection): Promise<LetterHead[]> {
  const ids = (await box.ids()).filter((id) => isIdMeant(id, selection));
  const heads: LetterHead[] = [];
  for (let from = 0; from < ids.length; from += PAGE) {
    for (const stored of await box.read(ids.slice(from, from + PAGE))) {
      if (stored !== undefined && isMeant(stored.letter, selection)) heads.push(headOf(stored));
    }
  }
  // By shard each is in order; the sort is stable.
  return heads.toSorted((a, b) => a.diedMs - b.diedMs);
}

/** Ids begin with the message: most letters need not be read to find those of one. */
function isIdMeant(id: string, { message }: LetterSelection): boolean {
  if (message === undefined) return true;
  const start = message.replaceAll(':', '_');
  return id.startsWith(`${start}.`) || id.startsWith(`${start}#`);
}

/** Whether a letter is among those that are meant. */
export function isMeant(letter: DeadLetter, selection: LetterSelection): boolean {
  const { message, service, id, code, sinceMs, untilMs } = selection;
  return (
    (message === undefined || letter.message === message || letter.message.startsWith(`${message}#`)) &&
    (service === undefined || letter.service === service) &&
    (id === undefined || letter.recordId === id) &&
    (code === undefined || letter.error.code === code) &&
    (sinceMs === undefined || letter.diedMs >= sinceMs) &&
    (untilMs === undefined || letter.diedMs <= untilMs)
  );
}

function headOf({ letter, redriving }: StoredLetter): LetterHead {
  const { key, value, headers, ...head } = letter;
  return { ...head, letter: letterId(letter), bytes: bytesOf({ key, value, headers }), redriving };
}

function bytesOf({ key, value, headers }: Pick<DeadLetter, 'key' | 'value' | 'headers'>): number {
  let bytes = lengthOf(key) + lengthOf(value);
  for (const [name, raw] of headers) bytes += name.length + lengthOf(raw);
  return bytes;
}

function lengthOf(bytes: DeadLetter['value']): number {
  if (bytes === null) return 0;
  return typeof bytes === 'string' ? bytes.length : bytes.base64.length;
}

/** Letters that died of the same, the most frequent first. */
export function groupLetters(heads: readonly LetterHead[]): LetterGroup[] {
  const groups = Map.groupBy(heads, ({ service, error }) => `${service} ${error.code}`);
  return [...groups.values()]
    .flatMap((group): LetterGroup[] => {
      const [first] = group;
      if (first === undefined) return [];
      const died = group.map(({ diedMs }) => diedMs).toSorted((a, b) => a - b);
      return [
        {
          service: first.service,
          code: first.error.code,
          count: group.length,
          oldestMs: died[0] ?? 0,
          newestMs: died.at(-1) ?? 0,
        },
      ];
    })
    .toSorted((a, b) => b.count - a.count);
}
