import { beforeEach, describe, expect, it } from 'vitest';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import { createMemoryRedisTier } from '../../src/adapters/memory-tiers.ts';
import type { Coherence, StoredRecord } from '../../src/core/ports.ts';
import { createLoneCoherence } from '../../src/read/fills.ts';
import { createGenerations, type Generations } from '../../src/read/generations.ts';
import { createLoad, type Load } from '../../src/read/load.ts';
import { createNegatives } from '../../src/read/negatives.ts';
import { createVirtualClock, type VirtualClock } from '../../src/testing/virtual-clock.ts';
import { aService } from '../support/service.ts';

const service = aService({
  read: { fromSource: false, staleWhileRevalidateMs: 0, failSafeMs: 0, keepMs: 0, negativeTtlMs: 0 },
});
const wanted = { id: '1', key: service.keyOf('1') };

describe('a read that is under way', () => {
  let clock: VirtualClock;
  let generations: Generations;
  let state: ReturnType<Coherence['state']>;
  let load: Load;
  /** Reads of Redis, in the order in which they began. */
  let reads: PromiseWithResolvers<(StoredRecord | null)[]>[];
  beforeEach(() => {
    clock = createVirtualClock(1_000_000);
    generations = createGenerations();
    state = 'fresh';
    reads = [];
    const localTier = createKeyvLocalTier({ maxEntries: 10, maxBytes: 1 << 20, clock });
    const coherence: Coherence = { ...createLoneCoherence(localTier, generations), state: () => state };
    load = createLoad({
      localTier,
      redisTier: {
        ...createMemoryRedisTier({ clock }),
        read() {
          const answer = Promise.withResolvers<(StoredRecord | null)[]>();
          reads.push(answer);
          return answer.promise;
        },
      },
      coherence,
      negatives: createNegatives(coherence, clock),
      fill: async () => [],
      clock,
    });
  });

  const ask = (): Promise<string> => {
    const [outcome] = load(service, [wanted]);
    if (outcome === undefined) throw new Error('no read');
    return outcome.then((ended) => (ended.kind === 'found' ? ended.record.text : ended.kind));
  };
  const answer = (index: number, text: string): void =>
    reads[index]?.resolve([{ text, fence: '1|l|c|1|orders-0|0|1', ttlMs: -1 }]);

  it('is shared, however long it takes', async () => {
    const first = ask();
    clock.advanceTo(clock.now() + 60_000);
    const second = ask();
    answer(0, 'one');
    expect(await Promise.all([first, second])).toEqual(['one', 'one']);
    expect(reads).toHaveLength(1);
  });

  it('is not shared when its key has changed since', async () => {
    const first = ask();
    generations.bump(wanted.key);
    const second = ask();
    answer(0, 'old');
    answer(1, 'new');
    expect(await Promise.all([first, second])).toEqual(['old', 'new']);
  });

  it('is not shared after a while when changes may have passed unheard', async () => {
    state = 'blind';
    const reading = [ask()];
    clock.advanceTo(clock.now() + 1_000);
    reading.push(ask());
    clock.advanceTo(clock.now() + 1);
    reading.push(ask());
    answer(0, 'old');
    answer(1, 'new');
    expect(await Promise.all(reading)).toEqual(['old', 'old', 'new']);
  });
});
