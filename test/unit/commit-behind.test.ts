import { beforeEach, describe, expect, it } from 'vitest';
import type { SourceBatch } from '../../src/core/ports.ts';
import { type CommitBehind, createCommitBehind } from '../../src/ingest/commit-behind.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { createVirtualClock, type VirtualClock } from '../../src/testing/virtual-clock.ts';

describe('commits behind the messages’ back', () => {
  let clock: VirtualClock;
  let commits: CommitBehind;
  /** What was sent, and what decides how it ends. */
  let sent: { readonly offset: string; readonly answer: PromiseWithResolvers<void> }[];
  let acknowledged: string[];
  beforeEach(() => {
    clock = createVirtualClock(1_000);
    commits = createCommitBehind({ clock, log: silentLog });
    sent = [];
    acknowledged = [];
  });

  const later = (offset: string, partition = 0, generation = 1): void => {
    const batch: Pick<SourceBatch, 'topic' | 'partition' | 'generation' | 'commit'> = {
      topic: 't',
      partition,
      generation,
      commit(at) {
        const answer = Promise.withResolvers<void>();
        sent.push({ offset: `${partition}:${at}`, answer });
        return answer.promise;
      },
    };
    // A commit asks its batch for nothing else.
    commits.later(batch as SourceBatch, offset, (next) => acknowledged.push(`${partition}:${next}`));
  };
  const offsets = (): string[] => sent.map(({ offset }) => offset);
  const pass = async (ms: number): Promise<void> => {
    clock.advanceTo(clock.now() + ms);
    await new Promise((resolve) => setImmediate(resolve));
  };

  it('go out at once after a rest, then together', async () => {
    later('1');
    sent[0]?.answer.resolve();
    later('2');
    later('3');
    await pass(99);
    expect(offsets()).toEqual(['0:1']);
    await pass(1);
    expect(offsets()).toEqual(['0:1', '0:3']);
    expect(acknowledged).toEqual(['0:2']);
  });

  it('wait for the one before them, which might be tried again and take them back', async () => {
    later('1');
    later('2');
    later('7', 1);
    await pass(60_000);
    expect(offsets()).toEqual(['0:1', '1:7']);
    sent[0]?.answer.reject(new Error('no answer'));
    await pass(0);
    expect(offsets()).toEqual(['0:1', '1:7', '0:2']);
  });

  it('never go back, but in another generation, which may have been told to', async () => {
    later('5');
    sent[0]?.answer.resolve();
    later('4');
    later('5');
    await pass(100);
    expect(offsets()).toEqual(['0:5']);
    later('3', 0, 2);
    expect(offsets()).toEqual(['0:5', '0:3']);
  });

  it('are sent and answered when they are flushed', async () => {
    later('1');
    later('2');
    const flushed = commits.flush().then(() => acknowledged);
    await pass(0);
    expect(offsets()).toEqual(['0:1']);
    sent[0]?.answer.resolve();
    await pass(0);
    expect(offsets()).toEqual(['0:1', '0:2']);
    sent[1]?.answer.resolve();
    expect(await flushed).toEqual(['0:2', '0:3']);
  });
});
