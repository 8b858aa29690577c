import type { Clock, Coherence } from '../core/ports.ts';

/** Keys remembered at most: who asks for random ids must not fill the memory. */
const MAX_KEYS = 10_000;

interface Negative {
  readonly untilMs: number;
  readonly generation: number;
}

/** Keys whose records were found absent, for a short while and until any version of them is heard of. */
export interface Negatives {
  has(key: string): boolean;
  /** @param generation of the key before the record was looked for */
  add(key: string, ttlMs: number, generation: number): void;
}

export function createNegatives(coherence: Coherence, clock: Clock): Negatives {
  const known = new Map<string, Negative>();
  return {
    has(key) {
      if (known.size === 0) return false;
      const found = known.get(key);
      if (found === undefined || coherence.state() === 'blind') return false;
      if (found.untilMs > clock.now() && coherence.isCurrent(key, found.generation)) return true;
      known.delete(key);
      return false;
    },
    add(key, ttlMs, generation) {
      known.delete(key);
      if (ttlMs <= 0 || !coherence.isCurrent(key, generation)) return;
      if (known.size >= MAX_KEYS) {
        const [oldest] = known.keys();
        if (oldest !== undefined) known.delete(oldest);
      }
      known.set(key, { untilMs: clock.now() + ttlMs, generation });
    },
  };
}
