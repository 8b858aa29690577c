import { createMemoryRedisTier } from '../adapters/memory-tiers.ts';
import { fenceKeyOf } from '../core/fence.ts';
import type { Clock, RedisTier, RedisTierView } from '../core/ports.ts';

/**
 * The Redis tier as it would become: each key is read from the real one when it is first asked for, every write goes to
 * the in-memory tier, which passes the same contract suite. So later writes meet earlier ones, and nothing is written.
 */
export function createOverlayRedisTier(real: RedisTierView, clock: Clock): RedisTier {
  const memory = createMemoryRedisTier({ clock });
  const known = new Set<string>();

  const load = async (keys: readonly string[]): Promise<void> => {
    const missing = keys.filter((key) => !known.has(key));
    if (missing.length === 0) return;
    const [fences, values] = await Promise.all([real.fences(missing), real.read(missing)]);
    missing.forEach((key, index) => {
      if (known.has(key)) return;
      known.add(key);
      const [value, fence] = [values[index] ?? null, fences[index] ?? null];
      if (value !== null) memory.cells.set(key, { text: value.text, untilMs: 0 });
      if (fence !== null) memory.cells.set(fenceKeyOf(key), { text: fence, untilMs: 0 });
    });
  };

  return {
    async fences(keys) {
      await load(keys);
      return memory.fences(keys);
    },
    async read(keys) {
      await load(keys);
      return memory.read(keys);
    },
    async write(writes) {
      await load(writes.map(({ key }) => key));
      return memory.write(writes);
    },
    async fillUnversioned(key, text, ttlMs) {
      await load([key]);
      return memory.fillUnversioned(key, text, ttlMs);
    },
    close: () => memory.close(),
  };
}
