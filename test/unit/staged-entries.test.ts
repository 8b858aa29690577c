import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStaging } from '../../src/adapters/staged-entries.ts';
import { compareEntries } from '../../src/core/entry-order.ts';
import type { LocalEntry } from '../../src/core/ports.ts';
import { entryOf } from '../support/tier-entries.ts';

const TOKENS = ['job.1', 'job.2', 'job.3'] as const;
const KEYS = ['a', 'b'] as const;

/** The same, by looking at everything every time. */
function naiveStaging() {
  let writes: { token: string; entry: LocalEntry; by: LocalEntry | undefined; isGone: boolean }[] = [];
  const of = (key: string) => writes.filter(({ entry }) => entry.key === key);
  const overtake = (key: string, by: LocalEntry | null): void => {
    for (const write of of(key)) {
      if (by === null) write.isGone = true;
      else if (write.by === undefined || compareEntries(write.by, by) < 0) write.by = by;
    }
  };
  const remove = (token: string, key: string) => {
    const found = of(key).find((write) => write.token === token);
    writes = writes.filter((write) => write !== found);
    return found;
  };
  return {
    overtake,
    add(token: string, entry: LocalEntry): void {
      remove(token, entry.key);
      writes.push({ token, entry, by: of(entry.key)[0]?.by, isGone: false });
    },
    take(token: string, key: string, by: LocalEntry | undefined): LocalEntry | undefined {
      const found = remove(token, key);
      if (by !== undefined) overtake(key, by);
      if (found === undefined || found.isGone) return undefined;
      return found.by === undefined || compareEntries(found.entry, found.by) >= 0 ? found.entry : undefined;
    },
    read: (token: string, key: string) => of(key).find((write) => write.token === token)?.entry,
    entries: () => writes.length,
  };
}

const token = fc.constantFrom(...TOKENS);
const key = fc.constantFrom(...KEYS);
const digits = fc.constantFrom('1', '2', '3');
const step = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), token, key, digits }),
  fc.record({
    kind: fc.constant('take' as const),
    token,
    key,
    digits: fc.option(digits, { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('overtake' as const), token, key, digits: fc.option(digits) }),
);

describe('what executions hold', () => {
  it('is what a look at all of it says, whatever came before', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const staging = createStaging(100_000);
        const naive = naiveStaging();
        for (const { kind, token: by, key: of, digits: version } of steps) {
          if (kind === 'add') {
            const entry = entryOf(of, version);
            staging.add(by, [entry], 0);
            naive.add(by, entry);
          } else if (kind === 'take') {
            const newer = version === undefined ? undefined : entryOf(of, version);
            let taken: LocalEntry | undefined;
            staging.taking(by, (take) => (taken = take(of, newer)));
            expect(taken).toBe(naive.take(by, of, newer));
          } else {
            const newer = version === null ? null : entryOf(of, version);
            staging.overtake(of, newer);
            naive.overtake(of, newer);
          }
          expect(staging.size().entries).toBe(naive.entries());
          for (const each of TOKENS)
            for (const name of KEYS) expect(staging.of(each)?.get(name)).toBe(naive.read(each, name));
        }
      }),
    );
  });

  it('of one key written twice at once is the later', () => {
    const staging = createStaging(100_000);
    const [first, second] = [entryOf('a', '2'), entryOf('a', '1')];
    staging.add('job.1', [first, second], 0);
    expect(staging.of('job.1')?.get('a')).toBe(second);
    expect(staging.size().entries).toBe(1);
    staging.taking('job.1', (take) => expect(take('a')).toBe(second));
    expect(staging.size()).toEqual({ entries: 0, bytes: 0 });
  });
});
