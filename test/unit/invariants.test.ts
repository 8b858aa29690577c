import { describe, expect, it } from 'vitest';
import { encodeFence, type FenceKind } from '../../src/core/fence.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import { parseVersion } from '../../src/core/version.ts';
import {
  type AcceptedWrite,
  type Acknowledged,
  EMPTY_HISTORY,
  type FinalCell,
  type History,
  type ReaderSample,
} from '../reliability/history.ts';
import {
  checkInvariants,
  describeViolations,
  INVARIANTS,
  type Violation,
} from '../reliability/invariants.ts';

const KEY = 'product_info_200';
const id = (position: number): string => `cache-message-0@${position}`;

function asked(position: number, version: number | '', op: 'upsert' | 'delete' = 'upsert'): Acknowledged {
  const text = op === 'upsert' ? `{"version":${version}}` : undefined;
  return { message: id(position), key: KEY, version: version === '' ? '' : `counter:${version}`, op, text };
}

function ended(position: number, state: string, more: Partial<AuditRecord> = {}): AuditRecord {
  const worker = 'a';
  const base = {
    stream: 'cache-message-0',
    epoch: 0,
    redrive: 0,
    job: `job-${position}`,
    execution: 1,
    worker,
  };
  const about = {
    service: 'product',
    recordId: '200',
    key: KEY,
    version: '',
    state,
    attempts: 0,
    error: null,
  };
  const rest = { supersededBy: '', dueMs: 0, note: '', startedMs: 1, endedMs: 2, steps: [] };
  return { message: id(position), ...base, ...about, ...rest, ...more };
}

function cell(kind: FenceKind, version: number, text = `{"version":${version}}`): FinalCell {
  const origin = { stream: 'cache-message-0', epoch: 0, position: '1' };
  const fence = encodeFence(kind, parseVersion(`counter:${version}`), origin);
  return { key: KEY, fence, text: kind === 'live' ? text : null };
}

function look(version: number, atMs: number, more: Partial<ReaderSample> = {}): ReaderSample {
  return {
    reader: 'redis',
    tier: 'redis',
    key: KEY,
    version: `counter:${version}`,
    isPresent: true,
    atMs,
    ...more,
  };
}

function wrote(position: number, version: number | '', more: Partial<AcceptedWrite> = {}): AcceptedWrite {
  const told = version === '' ? '' : `counter:${version}`;
  return {
    key: KEY,
    version: told,
    op: 'upsert',
    message: id(position),
    epoch: 0,
    atMs: position * 10,
    ...more,
  };
}

const check = (part: Partial<History>): Violation[] => checkInvariants({ ...EMPTY_HISTORY, ...part });
/** That exactly these invariants are broken, each once. */
function expectBroken(part: Partial<History>, ...names: (keyof typeof INVARIANTS)[]): void {
  const found = check(part);
  const told = found.map(({ invariant, what }) => ({ invariant, what }));
  expect(told).toEqual(names.map((name) => ({ invariant: INVARIANTS[name], what: expect.any(String) })));
}

const settled = {
  acknowledged: [asked(1, 1), asked(2, 2)],
  audit: [ended(1, 'redisCached'), ended(2, 'redisCached')],
};

describe('invariant 1: every acknowledged message is final', () => {
  it('holds when each has a final record, however it ended', () => {
    const audit = [ended(1, 'superseded'), ended(2, 'gaveUp')];
    expectBroken({ ...settled, audit, deadLetters: [id(2)] });
  });

  it('is broken by a message without a record, and by one that only waits or was lost', () => {
    expectBroken({ ...settled, audit: [ended(1, 'redisCached')] }, 'final');
    expectBroken(
      { ...settled, audit: [ended(1, 'redisCached'), ended(2, 'parsed', { dueMs: 99 })] },
      'final',
    );
    expectBroken({ ...settled, audit: [ended(1, 'redisCached'), ended(2, 'lost')] }, 'final');
  });

  it('asks for the record of the right epoch, where the topic was made anew', () => {
    const again = { ...asked(1, 9), epoch: 1 };
    expectBroken({ acknowledged: [again], audit: [ended(1, 'redisCached')] }, 'final');
    expectBroken({ acknowledged: [again], audit: [ended(1, 'redisCached', { epoch: 1 })] });
  });

  it('is broken by a dead message that is not among the dead letters', () => {
    const audit = [ended(1, 'redisCached'), ended(2, 'rejected')];
    expectBroken({ ...settled, audit, deadLetters: [] }, 'final');
  });

  it('is broken by two records of one execution', () => {
    expectBroken({ ...settled, audit: [...settled.audit, ended(2, 'redisCached')] }, 'final');
  });

  it('is broken by a failed attempt without its record, over split jobs too', () => {
    const one = { acknowledged: [asked(1, 1)] };
    const last = ended(1, 'redisCached', { execution: 3, attempts: 2, job: 'j.a.b' });
    const first = ended(1, 'parsed', { execution: 1, attempts: 1, dueMs: 5, job: 'j' });
    expectBroken({ ...one, audit: [first, last] });
    expectBroken({ ...one, audit: [last] }, 'final');
  });
});

describe('invariant 2: no version goes down', () => {
  it('holds when versions rise, stay, or are gone', () => {
    const gone = look(2, 3, { isPresent: false });
    expectBroken({ samples: [look(1, 1), look(2, 2), gone, look(3, 4), look(3, 5)] });
  });

  it('is broken by an older version, and by a deleted one that is back', () => {
    expectBroken({ samples: [look(2, 1), look(1, 2)] }, 'monotonic');
    expectBroken({ samples: [look(2, 1), look(2, 2, { isPresent: false }), look(2, 3)] }, 'monotonic');
  });

  it('is held for each reader by itself: another instance may still be behind', () => {
    const behind = look(1, 2, { reader: 'b', tier: 'local' });
    expectBroken({ samples: [look(2, 1), behind, look(2, 3), { ...behind, atMs: 4 }] });
    expectBroken(
      {
        samples: [
          { ...behind, version: 'counter:2' },
          { ...behind, atMs: 4 },
        ],
      },
      'monotonic',
    );
  });

  it('holds for all a reader sees, whichever tier it comes from', () => {
    const samples = [look(2, 1, { reader: 'b' }), look(1, 2, { reader: 'b', tier: 'local' })];
    expectBroken({ samples }, 'monotonic');
    expectBroken({ samples, localTiers: 'withinTtl' }, 'monotonic');
  });

  it('compares a look with those that had ended when it began, not with those beside it', () => {
    const slow = look(1, 30, { reader: 'b', sinceMs: 5 });
    expectBroken({ samples: [look(1, 2, { reader: 'b' }), look(2, 10, { reader: 'b' }), slow] });
    expectBroken({ samples: [look(2, 10, { reader: 'b' }), { ...slow, sinceMs: 11 }] }, 'monotonic');
    const after = look(1, 50, { reader: 'b', sinceMs: 40 });
    expectBroken({ samples: [look(2, 10, { reader: 'b' }), slow, after] }, 'monotonic');
  });

  it('is broken by an answer that is older than what Redis had a bound before it was asked for', () => {
    const behind = look(1, 220, { reader: 'b', tier: 'local', sinceMs: 200 });
    const samples = [look(1, 80), look(2, 90), behind];
    expectBroken({ samples, coherenceMs: 150 });
    expectBroken({ samples, coherenceMs: 100 }, 'monotonic');
    const revived = [look(2, 80), look(2, 90, { isPresent: false }), { ...behind, version: 'counter:2' }];
    expectBroken({ samples: revived, coherenceMs: 100 }, 'monotonic');
    const repairs = [{ fromMs: 150, toMs: 250, why: 'Redis rolled back' }];
    expectBroken({ samples, coherenceMs: 100, repairs });
  });

  it('is broken by an instance that answers from its local tier though it knows that it is blind', () => {
    const blind = look(1, 2, { reader: 'b', isBlind: true });
    expectBroken({ samples: [blind] });
    expectBroken({ samples: [{ ...blind, tier: 'local' }] }, 'monotonic');
  });

  it('does not hold between the rollback of Redis and its repair, and holds again after it', () => {
    const repairs = [{ fromMs: 15, toMs: 25, why: 'Redis rolled back' }];
    expectBroken({ samples: [look(2, 10), look(1, 20), look(2, 30)], repairs });
    expectBroken({ samples: [look(2, 10), look(1, 20), look(2, 30), look(1, 40)], repairs }, 'monotonic');
  });
});

describe('invariant 3: the tiers equal the newest version', () => {
  const local = { instance: 'b', key: KEY, version: 'counter:2', text: '{"version":2}' };

  it('holds when Redis and every local tier have the newest', () => {
    expectBroken({ ...settled, redis: [cell('live', 2)], local: [local] });
    const deleted = { ...settled, acknowledged: [asked(1, 1), asked(2, 2, 'delete')] };
    expectBroken({ ...deleted, redis: [cell('tombstone', 2)] });
  });

  it('is broken by an older version in Redis, by nothing, by other bytes, and by what no message asked for', () => {
    expectBroken({ ...settled, redis: [cell('live', 1)] }, 'newest');
    expectBroken({ ...settled, redis: [{ key: KEY, text: null, fence: null }] }, 'newest');
    expectBroken({ ...settled, redis: [cell('live', 2, '{"version":2,"torn":1}')] }, 'newest');
    expectBroken({ ...settled, redis: [cell('live', 3)] }, 'newest');
  });

  it('is broken by a value that outlived its deletion, and by a tombstone that a later write should have replaced', () => {
    const deleted = [asked(1, 1), asked(2, 2, 'delete')];
    expectBroken({ ...settled, acknowledged: deleted, redis: [cell('live', 1)] }, 'newest');
    expectBroken({ ...settled, redis: [cell('tombstone', 1)] }, 'newest');
    const both = { ...cell('tombstone', 2), text: '{"version":1}' };
    expectBroken({ ...settled, acknowledged: deleted, redis: [both] }, 'newest');
  });

  it('lets a tie belong to the delete', () => {
    const acknowledged = [asked(1, 2, 'delete'), asked(2, 2)];
    expectBroken({ ...settled, acknowledged, redis: [cell('tombstone', 2)] });
    expectBroken({ ...settled, acknowledged, redis: [cell('live', 2)] }, 'newest');
  });

  it('allows, and does not demand, what a dead message asked for', () => {
    const audit = [ended(1, 'redisCached'), ended(2, 'gaveUp')];
    for (const version of [1, 2]) expectBroken({ ...settled, audit, redis: [cell('live', version)] });
  });

  it('lets the last end of a message count: after a rollback of Redis it may die though it was done before', () => {
    const again = { job: 'later', startedMs: 9 };
    const died = [ended(1, 'redisCached'), ended(2, 'redisCached'), ended(2, 'gaveUp', again)];
    expectBroken({ ...settled, audit: died, redis: [cell('live', 1)] });
    const redriven = [ended(1, 'redisCached'), ended(2, 'gaveUp'), ended(2, 'redisCached', again)];
    expectBroken({ ...settled, audit: redriven, redis: [cell('live', 1)] }, 'newest');
  });

  it('takes what the source held for the truth where services fetch', () => {
    const truth = [1, 2, 3].map((version) => ({
      key: KEY,
      version: `counter:${version}`,
      op: 'upsert' as const,
    }));
    expectBroken({ ...settled, truth, redis: [cell('live', 3)] });
    expectBroken({ ...settled, truth, redis: [cell('live', 1)] }, 'newest');
  });

  it('takes a deletion without a version for the newest when it came last', () => {
    const acknowledged = [asked(1, 1), asked(2, '', 'delete')];
    expectBroken({ ...settled, acknowledged, redis: [cell('tombstone', 1)] });
    expectBroken({ ...settled, acknowledged, redis: [cell('live', 1)] }, 'newest');
  });

  it('is broken by a local tier that is behind: at once for all, or for the instance that wrote', () => {
    const behind = { ...local, version: 'counter:1', text: '{"version":1}' };
    const redis = [cell('live', 2)];
    expectBroken({ ...settled, redis, local: [behind] }, 'newest');
    const wrote = ended(2, 'redisCached', { version: 'counter:2', worker: 'a' });
    const within = { ...settled, audit: [ended(1, 'redisCached'), wrote], localTiers: 'withinTtl' as const };
    expectBroken({ ...within, redis, local: [behind] });
    expectBroken({ ...within, redis, local: [{ ...behind, instance: 'a' }] }, 'newest');
    const repairs = [{ fromMs: wrote.endedMs + 1, toMs: wrote.endedMs + 2, why: 'Redis rolled back' }];
    expectBroken({ ...within, repairs, redis, local: [{ ...behind, instance: 'a' }] });
    expectBroken(
      {
        ...settled,
        redis: [cell('tombstone', 2)],
        acknowledged: [asked(1, 1), asked(2, 2, 'delete')],
        local: [local],
      },
      'newest',
    );
  });

  it('is broken by a local tier that is ahead of Redis, whoever wrote', () => {
    const ahead = { ...local, version: 'counter:3' };
    expectBroken({ ...settled, redis: [cell('live', 2)], local: [ahead], localTiers: 'withinTtl' }, 'newest');
  });
});

describe('invariant 4: at most one accepted write per key and version', () => {
  it('holds when accepted writes rise, a tombstone is left twice, and an equal version comes later in one stream', () => {
    const twice = [wrote(3, 3, { op: 'delete' }), wrote(4, 3, { op: 'delete' })];
    expectBroken({
      accepted: [wrote(1, 1), wrote(2, 1), ...twice, wrote(5, '', { op: 'delete' }), wrote(6, 4)],
    });
  });

  it('is broken by the same message twice, an older version, another stream, and a revival', () => {
    expectBroken({ accepted: [wrote(1, 1), wrote(1, 1, { atMs: 20 })] }, 'once');
    expectBroken({ accepted: [wrote(1, 2), wrote(2, 1)] }, 'once');
    expectBroken({ accepted: [wrote(1, 2), wrote(2, 2, { message: 'http@2' })] }, 'once');
    expectBroken({ accepted: [wrote(1, 2, { op: 'delete' }), wrote(2, 2)] }, 'once');
    expectBroken({ accepted: [wrote(1, 2), wrote(2, '', { op: 'delete' }), wrote(3, 2)] }, 'once');
  });

  it('does not hold across a repair, in which fence and value were gone', () => {
    const repairs = [{ fromMs: 12, toMs: 14, why: 'Redis rolled back' }];
    expectBroken({ accepted: [wrote(1, 2), wrote(1, 2, { atMs: 20 })], repairs });
  });
});

describe('invariants 5, 6 and 7', () => {
  const offsets = { group: 'g', topic: 'cache-message', partition: 0, atMs: 10 };

  it('5: a commit is at most the mark plus one', () => {
    expectBroken({
      offsets: [
        { ...offsets, committed: '8', enqueued: '7' },
        { ...offsets, committed: null, enqueued: null },
      ],
    });
    expectBroken({ offsets: [{ ...offsets, committed: '9', enqueued: '7' }] }, 'offsets');
    expectBroken({ offsets: [{ ...offsets, committed: '1', enqueued: null }] }, 'offsets');
    const repairs = [{ fromMs: 5, toMs: 15, why: 'Redis rolled back' }];
    expectBroken({ offsets: [{ ...offsets, committed: '9', enqueued: '7' }], repairs });
  });

  it('6: what is bounded stays below its bound; the worst is told once', () => {
    const level = { what: 'queue jobs', bound: 10, atMs: 1 };
    expectBroken({ levels: [{ ...level, value: 10 }] });
    expectBroken(
      {
        levels: [
          { ...level, value: 11 },
          { ...level, value: 12 },
        ],
      },
      'bounded',
    );
  });

  it('7: a fault that never fired makes the run worthless', () => {
    expectBroken({ faults: [{ fault: 'kill -9', fired: 2 }] });
    expectBroken({ faults: [{ fault: 'kill -9', fired: 0 }] }, 'fired');
  });
});

it('a violation carries the trails of the key it concerns', () => {
  const [violation] = check({ ...settled, redis: [cell('live', 1)] });
  expect(violation?.key).toBe(KEY);
  expect(violation?.trail).toContain(id(1));
  expect(violation?.trail).toContain(id(2));
  expect(describeViolations(check({ ...settled, redis: [cell('live', 1)] }))).toContain(
    'wanted version counter:2',
  );
});
