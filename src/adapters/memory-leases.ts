import { decodeWord, encodeWord } from './lease-words.ts';
import type { Clock, ReadLeases } from '../core/ports.ts';

/** Leases in memory, for tests and for the harness of users' tests: held to the suite of those in Redis. */
export function createMemoryLeases({ clock }: { readonly clock: Clock }): ReadLeases {
  const cells = new Map<string, { readonly word: string; readonly untilMs: number }>();
  const wordAt = (key: string): string | undefined => {
    const cell = cells.get(key);
    if (cell === undefined || cell.untilMs > clock.now()) return cell?.word;
    cells.delete(key);
    return undefined;
  };
  const put = (key: string, word: string, lifeMs: number): void =>
    void cells.set(key, { word, untilMs: clock.now() + lifeMs });
  return {
    acquire: async (keys, token, leaseMs) =>
      keys.map((key) => {
        const found = wordAt(key);
        if (found !== undefined) return decodeWord(found);
        put(key, encodeWord({ kind: 'held', token }), leaseMs);
        return { kind: 'acquired' };
      }),
    async look(key) {
      const found = wordAt(key);
      return found === undefined ? undefined : decodeWord(found);
    },
    async renew(keys, token, leaseMs) {
      const mine = encodeWord({ kind: 'held', token });
      for (const key of keys) if (wordAt(key) === mine) put(key, mine, leaseMs);
    },
    async release(key, token, word) {
      if (wordAt(key) !== encodeWord({ kind: 'held', token })) return;
      if (word.kind === 'free' || word.ttlMs <= 0) cells.delete(key);
      else put(key, encodeWord(word), word.ttlMs);
    },
  };
}
