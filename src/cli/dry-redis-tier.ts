import { createMemoryRedisTier } from '../adapters/memory-tiers.ts';
import { decodeFence, fenceKeyOf } from '../core/fence.ts';
import type { Clock, RedisTier, RedisTierView, StoredRecord, TierResult, TierWrite } from '../core/ports.ts';

/** What the fence was asked, what it found, and what it would answer. */
export interface Decision {
  readonly write: TierWrite;
  /** What is stored now. */
  readonly stored: StoredRecord | null;
  readonly fence: string | null;
  readonly result: TierResult;
}

export interface DryRedisTier extends RedisTier {
  /** The last decision about each key. */
  readonly decisions: ReadonlyMap<string, Decision>;
}

/**
 * A Redis tier that reads the real one and writes nothing: each decision is made by the in-memory tier, which passes the
 * same contract suite as the fence script, on a copy of what is stored.
 *
 * @param topic messages of this topic are judged as the next ones of their partition: they come after what is stored
 */
export function createDryRedisTier(
  real: RedisTierView,
  topic: string | undefined,
  clock: Clock,
): DryRedisTier {
  const decisions = new Map<string, Decision>();

  async function decide(given: TierWrite): Promise<TierResult> {
    const [[stored = null], [fence = null]] = await Promise.all([
      real.read([given.key]),
      real.fences([given.key]),
    ]);
    const memory = createMemoryRedisTier({ clock });
    if (stored !== null) memory.cells.set(given.key, { text: stored.text, untilMs: 0 });
    if (fence !== null) memory.cells.set(fenceKeyOf(given.key), { text: fence, untilMs: 0 });
    const write = asNext(given, fence, topic);
    const [result] = await memory.write([write]);
    const answer: TierResult = result ?? { kind: 'changed' };
    decisions.set(given.key, { write, stored, fence, result: answer });
    return answer;
  }

  return {
    decisions,
    fences: (keys) => real.fences(keys),
    read: (keys) => real.read(keys),
    write: (writes) => Promise.all(writes.map(decide)),
    fillUnversioned: async () => false,
    close: async () => undefined,
  };
}

/** The write as it would be, were its message sent now to the partition that the stored one came from. */
function asNext(write: TierWrite, fence: string | null, topic: string | undefined): TierWrite {
  const origin = fence === null ? undefined : decodeFence(fence)?.origin;
  if (origin === undefined || topic === undefined) return write;
  const isOfTopic = origin.stream.slice(0, origin.stream.lastIndexOf('-')) === topic;
  if (!isOfTopic || !/^\d+$/.test(origin.position)) return write;
  const position = String(BigInt(origin.position) + 1n);
  const version = write.version?.kind === 'offset' ? { ...write.version, digits: position } : write.version;
  return { ...write, version, origin: { ...origin, position } };
}
