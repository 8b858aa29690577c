import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Mark } from '../../src/core/ports.ts';
import { decide, type Situation } from '../../src/ingest/mark.ts';

const LOG = 'log-a';
const CLUSTER = 'cluster-a';
const UNKNOWN_EPOCH = 1_700_000_000;

const aMark = (more: Partial<Mark> = {}): Mark => ({
  epoch: 2,
  enqueued: '99',
  committed: '90',
  logId: LOG,
  ...more,
});

const aSituation = (more: Partial<Situation> = {}): Situation => ({
  clusterId: CLUSTER,
  mark: aMark(),
  latest: { clusterId: CLUSTER, epoch: 2 },
  committed: '90',
  bounds: { low: '0', high: '200', logId: LOG },
  onMissingMark: 'earliest',
  unknownEpoch: UNKNOWN_EPOCH,
  ...more,
});

const bounds = (low: number, high: number, logId = LOG) => ({ low: String(low), high: String(high), logId });

describe('mark against commit', () => {
  it('begins a stream that was never read at the first message left, in epoch 0', () => {
    const decision = decide(aSituation({ mark: null, latest: null, committed: null, bounds: bounds(7, 20) }));
    expect(decision).toEqual({
      kind: 'fresh',
      from: '7',
      lost: 0,
      mark: { epoch: 0, enqueued: '', committed: '', logId: LOG },
    });
  });

  it('goes on after the mark when everything enqueued is committed', () => {
    const decision = decide(aSituation({ committed: '100' }));
    expect(decision).toMatchObject({ kind: 'level', from: '100', mark: { epoch: 2, committed: '100' } });
  });

  it('leaves the stored mark alone when nothing was learned', () => {
    const mark = aMark({ committed: '100' });
    expect(decide(aSituation({ mark, committed: '100' })).mark).toBe(mark);
  });

  it('skips what is enqueued but not committed', () => {
    expect(decide(aSituation())).toMatchObject({ kind: 'ahead', from: '100', mark: aMark() });
  });

  it('skips what is enqueued when nothing was ever committed', () => {
    const decision = decide(aSituation({ mark: aMark({ committed: '' }), committed: null }));
    expect(decision).toMatchObject({ kind: 'ahead', from: '100', mark: { epoch: 2 } });
  });

  it('takes a commit between the acknowledged one and the mark for its own, not yet noted', () => {
    expect(decide(aSituation({ committed: '95' }))).toMatchObject({
      kind: 'ahead',
      from: '100',
      mark: { epoch: 2, committed: '95' },
    });
  });

  it('goes back to a mark that is behind the commit: Redis lost what it knew', () => {
    expect(decide(aSituation({ committed: '150' }))).toMatchObject({
      kind: 'rolledBack',
      from: '100',
      mark: aMark(),
    });
  });

  it('goes back to the start of an epoch of which Redis knows no message', () => {
    const mark = aMark({ enqueued: '', committed: '40' });
    expect(decide(aSituation({ mark, committed: '60' }))).toMatchObject({ kind: 'rolledBack', from: '40' });
  });

  it('obeys a commit below the acknowledged one, in a new epoch', () => {
    const decision = decide(aSituation({ committed: '10' }));
    expect(decision).toEqual({
      kind: 'rewound',
      from: '10',
      lost: 0,
      mark: { epoch: 3, enqueued: '', committed: '10', logId: LOG },
    });
  });

  it('reads a group whose commits were deleted from the beginning, in a new epoch', () => {
    expect(decide(aSituation({ committed: null }))).toMatchObject({
      kind: 'rewound',
      from: '0',
      mark: { epoch: 3, committed: '' },
    });
  });

  it('begins a rewind before the log at the first message left', () => {
    const mark = aMark({ enqueued: '99', committed: '90' });
    expect(decide(aSituation({ mark, committed: '10', bounds: bounds(50, 200) }))).toMatchObject({
      kind: 'rewound',
      from: '50',
    });
  });

  it('counts what retention removed unread, once', () => {
    const first = decide(aSituation({ bounds: bounds(130, 200) }));
    expect(first).toMatchObject({
      kind: 'expired',
      from: '130',
      lost: 30,
      mark: { epoch: 2, enqueued: '129' },
    });
    const again = decide(aSituation({ mark: first.mark, bounds: bounds(130, 200) }));
    expect(again).toMatchObject({ kind: 'ahead', from: '130', lost: 0 });
  });

  it('does not take the commit that kafkajs deletes after retention for a rewind', () => {
    const { mark } = decide(aSituation({ bounds: bounds(130, 200) }));
    expect(decide(aSituation({ mark, committed: null, bounds: bounds(130, 200) }))).toMatchObject({
      kind: 'ahead',
      from: '130',
    });
    const looked = decide(aSituation({ mark, committed: '90', bounds: bounds(130, 200) }));
    expect(
      decide(aSituation({ mark: looked.mark, committed: null, bounds: bounds(130, 200) })),
    ).toMatchObject({ kind: 'ahead' });
  });

  it.each([
    ['shorter than before', bounds(0, 20, 'log-b'), '90'],
    ['longer than before', bounds(0, 900, 'log-b'), '90'],
    ['with a commit that came after the deletion', bounds(0, 20, 'log-b'), '5'],
  ])(
    'reads another log of the same name from its beginning, in a new epoch: %s',
    (_, logBounds, committed) => {
      const decision = decide(aSituation({ bounds: logBounds, committed }));
      expect(decision).toEqual({
        kind: 'recreated',
        from: '0',
        lost: 0,
        mark: { epoch: 3, enqueued: '', committed: '', logId: 'log-b' },
      });
    },
  );

  it('reads a log that ends before the mark from its beginning, in a new epoch, when it cannot be named', () => {
    const mark = aMark({ logId: '' });
    expect(decide(aSituation({ mark, bounds: bounds(0, 20, '') }))).toMatchObject({
      kind: 'beyondEnd',
      from: '0',
      mark: { epoch: 3 },
    });
  });

  it('learns the name of the log when the brokers begin to tell it', () => {
    expect(decide(aSituation({ mark: aMark({ logId: '' }) }))).toMatchObject({
      kind: 'ahead',
      mark: { epoch: 2, logId: LOG },
    });
    expect(decide(aSituation({ bounds: bounds(0, 200, '') }))).toMatchObject({
      kind: 'ahead',
      mark: { epoch: 2, logId: LOG },
    });
  });

  it.each([
    ['a commit', '30', '30'],
    ['no commit', null, '0'],
    ['a commit that its log does not have', '500', '0'],
  ])('obeys the offsets of another cluster, in a new epoch: %s', (_, committed, from) => {
    const latest = { clusterId: 'cluster-b', epoch: 6 };
    expect(decide(aSituation({ mark: null, latest, committed }))).toMatchObject({
      kind: 'otherCluster',
      from,
      mark: { epoch: 7 },
    });
  });

  it('takes the way back to an earlier cluster for another cluster too', () => {
    const decision = decide(aSituation({ latest: { clusterId: 'cluster-b', epoch: 6 }, committed: '100' }));
    expect(decision).toMatchObject({ kind: 'otherCluster', from: '100', mark: { epoch: 7, enqueued: '' } });
  });

  it.each([
    ['earliest', '0', ''],
    ['committed', '90', '90'],
  ] as const)(
    'with commits and no mark begins where it is told (%s), above every epoch there may have been',
    (onMissingMark, from, committed) => {
      const decision = decide(aSituation({ mark: null, latest: null, onMissingMark }));
      expect(decision).toEqual({
        kind: 'markMissing',
        from,
        lost: 0,
        mark: { epoch: UNKNOWN_EPOCH, enqueued: '', committed, logId: LOG },
      });
    },
  );

  it('counts on from the newest epoch when only the mark is missing', () => {
    expect(decide(aSituation({ mark: null }))).toMatchObject({ kind: 'markMissing', mark: { epoch: 3 } });
  });

  it('compares offsets beyond 2^53 exactly', () => {
    const mark = aMark({ enqueued: '9007199254740992', committed: '9007199254740993' });
    const high = { low: '0', high: '9007199254740999', logId: LOG };
    expect(decide(aSituation({ mark, committed: '9007199254740993', bounds: high }))).toMatchObject({
      kind: 'level',
    });
    expect(decide(aSituation({ mark, committed: '9007199254740994', bounds: high }))).toMatchObject({
      kind: 'rolledBack',
    });
  });

  const offset = fc.integer({ min: 0, max: 40 });
  const anySituation = fc
    .record({
      low: offset,
      length: offset,
      logId: fc.constantFrom('', LOG, 'log-b'),
      mark: fc.option(
        fc.record({
          epoch: fc.integer({ min: 0, max: 3 }),
          enqueued: fc.option(offset).map((value) => (value === null ? '' : String(value))),
          committed: fc.option(offset).map((value) => (value === null ? '' : String(value))),
          logId: fc.constantFrom('', LOG),
        }),
      ),
      committed: fc.option(offset).map((value) => (value === null ? null : String(value))),
      isOther: fc.boolean(),
      onMissingMark: fc.constantFrom('earliest' as const, 'committed' as const),
    })
    .map(({ low, length, logId, mark, committed, isOther, onMissingMark }) =>
      aSituation({
        mark,
        latest:
          mark === null && !isOther
            ? null
            : { clusterId: isOther ? 'cluster-b' : CLUSTER, epoch: mark?.epoch ?? 0 },
        committed,
        bounds: bounds(low, low + length, logId),
        onMissingMark,
      }),
    );

  it('never skips a message of this log that was not enqueued, unless it was told to or the message is gone', () => {
    fc.assert(
      fc.property(anySituation, (situation) => {
        const { kind, from, mark } = decide(situation);
        const { low } = situation.bounds;
        expect(BigInt(from)).toBeGreaterThanOrEqual(
          kind === 'rolledBack' || kind === 'level' || kind === 'ahead' ? 0n : BigInt(low),
        );
        if (
          ['rewound', 'otherCluster'].includes(kind) ||
          (kind === 'markMissing' && situation.onMissingMark === 'committed')
        )
          return;
        const enqueued =
          situation.mark === null || mark.epoch !== situation.mark.epoch ? '' : situation.mark.enqueued;
        const start = situation.mark?.committed ?? '';
        const firstUnread =
          enqueued !== ''
            ? BigInt(enqueued) + 1n
            : mark.epoch === situation.mark?.epoch && start !== ''
              ? BigInt(start)
              : BigInt(low);
        const firstLeft = firstUnread > BigInt(low) ? firstUnread : BigInt(low);
        expect(BigInt(from)).toBeLessThanOrEqual(firstLeft);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is stable: deciding again on the mark it made, with nothing else changed, neither begins an epoch nor moves', () => {
    fc.assert(
      fc.property(anySituation, (situation) => {
        const first = decide(situation);
        const latest = { clusterId: situation.clusterId, epoch: Math.max(first.mark.epoch, 0) };
        const second = decide({ ...situation, mark: first.mark, latest });
        expect(second.mark.epoch).toBe(first.mark.epoch);
        expect(second.from).toBe(first.from);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never goes back to an epoch that was used', () => {
    fc.assert(
      fc.property(anySituation, (situation) => {
        const { mark } = decide(situation);
        expect(mark.epoch).toBeGreaterThanOrEqual(situation.mark?.epoch ?? 0);
        const isNew = mark.epoch !== situation.mark?.epoch;
        expect(!isNew || mark.epoch > (situation.latest?.epoch ?? -1)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
