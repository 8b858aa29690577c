/**
 * Mark against commit, case by case: where a partition goes on, and with which epoch. Pure; `hand-off.ts` asks before
 * the first enqueue of each generation. The rule behind all cases: when in doubt read again (the fence answers `same`),
 * never skip; and what may be another log, or is read again on purpose, gets a new epoch, so that old positions are
 * never compared with new ones and job ids never meet.
 */
import type { LatestEpoch, LogBounds, Mark } from '../core/ports.ts';

/** What is known when a partition is taken over. */
export interface Situation {
  readonly clusterId: string;
  readonly mark: Mark | null;
  readonly latest: LatestEpoch | null;
  /** The group's commit (the next offset to read); null when there is none. */
  readonly committed: string | null;
  readonly bounds: LogBounds;
  readonly onMissingMark: 'earliest' | 'committed';
  /** Seconds since 1970: the epoch of a stream whose earlier epochs are unknown, above any count of them. */
  readonly unknownEpoch: number;
}

/**
 * - `fresh`: nothing was ever read. · `level`: mark and commit agree. · `ahead`: enqueued but not committed.
 * - `rolledBack`: the commit is ahead of the mark, so Redis lost what it knew (or someone set the offset forward).
 * - `expired`: retention removed messages before they were read.
 * - `rewound`: the commit was set back or deleted. · `recreated`: the topic is another log.
 * - `beyondEnd`: the log ends before the mark: truncated or made anew; a lagging answer looks the same, so ask again first.
 * - `otherCluster`: this group and topic were read from another cluster before.
 * - `markMissing`: there are commits, so there must have been a mark.
 */
export type DecisionKind =
  | 'fresh'
  | 'level'
  | 'ahead'
  | 'rolledBack'
  | 'expired'
  | 'rewound'
  | 'recreated'
  | 'beyondEnd'
  | 'otherCluster'
  | 'markMissing';

export interface Decision {
  readonly kind: DecisionKind;
  /** Offset to go on at, decimal. */
  readonly from: string;
  /** What the mark must be before anything is enqueued; the stored one itself when it may stay. */
  readonly mark: Mark;
  /** Messages that retention removed unread. */
  readonly lost: number;
}

/** Kinds that mean an operator's hand or a fault: counted and logged. */
export const LOUD: ReadonlySet<DecisionKind> = new Set<DecisionKind>([
  'rolledBack',
  'expired',
  'rewound',
  'recreated',
  'beyondEnd',
  'otherCluster',
  'markMissing',
]);

/** The decision for one partition. */
export function decide(situation: Situation): Decision {
  const { mark, latest, clusterId, bounds } = situation;
  if (latest !== null && latest.clusterId !== clusterId) {
    return startEpoch(situation, 'otherCluster', latest.epoch + 1, commitWithin(situation));
  }
  if (mark === null) return withoutMark(situation);
  if (mark.logId !== '' && bounds.logId !== '' && mark.logId !== bounds.logId) {
    // Kafka forgets commits with the topic, but a late one may have come after: only the beginning is safe.
    return startEpoch(situation, 'recreated', mark.epoch + 1, null);
  }
  const next = nextOf(mark);
  if (next !== null && next > BigInt(bounds.high)) {
    return startEpoch(situation, 'beyondEnd', mark.epoch + 1, null);
  }
  if (next !== null && next < BigInt(bounds.low)) return expired(situation, mark, next);
  return againstCommit(situation, mark, next ?? BigInt(bounds.low));
}

function withoutMark(situation: Situation): Decision {
  const { latest, committed, onMissingMark, unknownEpoch } = situation;
  if (committed === null && latest === null) return startEpoch(situation, 'fresh', 0, null);
  const epoch = latest === null ? unknownEpoch : latest.epoch + 1;
  return startEpoch(
    situation,
    'markMissing',
    epoch,
    onMissingMark === 'committed' ? commitWithin(situation) : null,
  );
}

function againstCommit(situation: Situation, mark: Mark, next: bigint): Decision {
  const { committed, bounds } = situation;
  const commit = committed === null ? null : BigInt(committed);
  const acknowledged = mark.committed === '' ? null : BigInt(mark.committed);
  const stay = { from: String(next), lost: 0 };
  if (commit === null) {
    if (acknowledged !== null) return startEpoch(situation, 'rewound', mark.epoch + 1, null);
    return {
      ...stay,
      kind: mark.enqueued === '' ? 'level' : 'ahead',
      mark: known(mark, bounds, mark.committed),
    };
  }
  if (commit > next) return { ...stay, kind: 'rolledBack', mark: known(mark, bounds, mark.committed) };
  if (acknowledged !== null && commit < acknowledged) {
    return startEpoch(situation, 'rewound', mark.epoch + 1, commitWithin(situation));
  }
  // The commit that was acknowledged, or a later one of ours that could not be noted any more.
  const noted = commit < BigInt(bounds.low) ? '' : String(commit);
  return { ...stay, kind: commit === next ? 'level' : 'ahead', mark: known(mark, bounds, noted) };
}

function expired({ bounds }: Situation, mark: Mark, next: bigint): Decision {
  const low = BigInt(bounds.low);
  // The messages before `low` are noted as read, so that they are counted once. kafkajs deletes a commit that points
  // before the log: an acknowledgement kept here would make that look like an operator's doing.
  const moved = { ...mark, enqueued: String(low - 1n), committed: '' };
  return { kind: 'expired', from: bounds.low, mark: known(moved, bounds, ''), lost: Number(low - next) };
}

/** A new epoch that reads from `commit`, or from the beginning. */
function startEpoch(
  situation: Situation,
  kind: DecisionKind,
  epoch: number,
  commit: string | null,
): Decision {
  const { bounds, mark, latest } = situation;
  const above = Math.max(epoch, mark === null ? 0 : mark.epoch + 1, latest === null ? 0 : latest.epoch + 1);
  return {
    kind,
    from: commit ?? bounds.low,
    mark: { epoch: above, enqueued: '', committed: commit ?? '', logId: bounds.logId },
    lost: 0,
  };
}

/** The commit, if the log still has that place. */
function commitWithin({ committed, bounds }: Situation): string | null {
  if (committed === null) return null;
  const commit = BigInt(committed);
  return commit < BigInt(bounds.low) || commit > BigInt(bounds.high) ? null : committed;
}

/** The offset after the last one enqueued; before the first of an epoch: where that epoch starts, if it was told. */
function nextOf(mark: Mark): bigint | null {
  if (mark.enqueued !== '') return BigInt(mark.enqueued) + 1n;
  return mark.committed === '' ? null : BigInt(mark.committed);
}

/** The mark with what was learned; the same object when nothing was. */
function known(mark: Mark, bounds: LogBounds, committed: string): Mark {
  const logId = bounds.logId === '' ? mark.logId : bounds.logId;
  return logId === mark.logId && committed === mark.committed ? mark : { ...mark, committed, logId };
}
