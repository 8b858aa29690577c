import { describe, expect, it } from 'vitest';
import { entryOf, standingClock } from '../support/tier-entries.ts';
import { createVersionedStore } from '../../src/adapters/lru-versioned-store.ts';

function store() {
  const clock = standingClock();
  const versioned = createVersionedStore({ maxEntries: 3, maxBytes: 100_000, clock });
  return { ...versioned, readable: (key: string) => versioned.readable(key, clock.now()) };
}

const one = (key: string, digits: string) => [entryOf(key, digits)];

describe('the versioned store', () => {
  it('counts the bytes of everything it holds, and gives them back', () => {
    const { stage, fill, discard, evict, promote, size } = store();
    const cost = 'k'.length + 'text 1'.length + 200;
    stage('job.1', one('k', '1'));
    const first = size().bytes;
    expect(first).toBeGreaterThanOrEqual(cost);
    stage('job.2', one('k', '2'));
    expect(size().bytes).toBe(first + cost);
    promote([entryOf('k', '1')], 'job.1');
    fill(entryOf('other', '1'));
    discard('k', 'job.2');
    evict('k', null);
    evict('other', null);
    expect(size()).toEqual({ entries: 0, bytes: 0 });
  });

  it('keeps what is read over what is not', () => {
    const { fill, readable } = store();
    for (const key of ['a', 'b', 'c']) fill(entryOf(key, '1'));
    readable('a');
    fill(entryOf('d', '1'));
    expect(['a', 'b', 'c', 'd'].filter((key) => readable(key) !== undefined)).toEqual(['a', 'c', 'd']);
  });

  it('leaves nothing behind when a key is promoted or discarded that it does not hold', () => {
    const { promote, discard, evict, size } = store();
    promote([entryOf('a', '1')], 'job.1');
    discard('a', 'job.1', { version: null });
    evict('a', null);
    expect(size().entries).toBe(0);
  });

  it('remembers the higher of two deletes', () => {
    const { evict, fill, readable } = store();
    evict('a', { kind: 'counter', digits: '10' });
    evict('a', { kind: 'counter', digits: '9' });
    fill(entryOf('a', '10'));
    expect(readable('a')).toBeUndefined();
    fill(entryOf('a', '11'));
    expect(readable('a')?.text).toBe('text 11');
  });

  it('takes an offset in a delete for newer than what is there: without its stream it cannot be compared', () => {
    const { evict, fill, readable } = store();
    const version = { kind: 'offset', digits: '500' } as const;
    fill(entryOf('a', '500', { version }));
    evict('a', { kind: 'offset', digits: '3' });
    expect(readable('a')).toBeUndefined();
    fill(entryOf('a', '4', { version: { kind: 'offset', digits: '4' } }));
    expect(readable('a')?.text).toBe('text 4');
  });
});
