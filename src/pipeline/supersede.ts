import type { Run } from '../core/run.ts';
import { compareDigits } from '../core/version.ts';

/**
 * Latest wins inside an execution: of several runs for one key only the newest does the work; the others wait for its
 * end and lose to it, or take over when it fails.
 */
export interface Supersession {
  /** A run has been parsed and stands for election under its key. */
  enter(run: Run): void;
  /** The runs that go on now: at most one per key at any time. */
  elect(): Run[];
  /** A run has ended; if it led its key, the runs it stood for lose, or the next newest may be elected. */
  ended(run: Run, lose: (loser: Run, winner: string) => void): void;
  /** A leader waits for a later execution: whoever stands behind it waits with it, at no cost. */
  waits(run: Run): void;
}

interface Rivals {
  /** In order of arrival. */
  pending: Run[];
  leader: Run | undefined;
  /** Whom the leader stands for. */
  followers: readonly Run[];
  /** Whether the next election looks at these. */
  isOpen: boolean;
}

const NONE: readonly Run[] = [];

export function createSupersession(): Supersession {
  const byKey = new Map<string, Rivals>();
  let open: Rivals[] = [];

  const rivalsOf = (run: Run): Rivals | undefined =>
    run.change === undefined ? undefined : byKey.get(run.change.key);
  const reopen = (rivals: Rivals): void => {
    if (rivals.isOpen) return;
    rivals.isOpen = true;
    open.push(rivals);
  };

  return {
    enter(run) {
      const key = run.change?.key ?? '';
      const known = byKey.get(key);
      if (known !== undefined) {
        known.pending.push(run);
        reopen(known);
        return;
      }
      const rivals = { pending: [run], leader: undefined, followers: NONE, isOpen: true };
      byKey.set(key, rivals);
      open.push(rivals);
    },

    elect() {
      const leaders: Run[] = [];
      for (const rivals of open) {
        rivals.isOpen = false;
        if (rivals.leader === undefined && rivals.pending.length > 0) leaders.push(electOne(rivals));
      }
      open = [];
      return leaders;
    },

    ended(run, lose) {
      const rivals = rivalsOf(run);
      if (rivals?.leader !== run) return;
      const { followers } = rivals;
      rivals.leader = undefined;
      rivals.followers = NONE;
      if (followers.length === 0 && rivals.pending.length === 0) return;
      reopen(rivals);
      if (run.state === 'rejected' || run.state === 'gaveUp') {
        rivals.pending = [...followers, ...rivals.pending];
        return;
      }
      for (const follower of followers) lose(follower, run.supersededBy === '' ? run.id : run.supersededBy);
    },

    waits(run) {
      const rivals = rivalsOf(run);
      if (rivals?.leader !== run) return;
      for (const behind of [...rivals.followers, ...rivals.pending]) {
        behind.dueMs = run.dueMs;
        behind.waitsFree = true;
        behind.note = `waits behind ${run.id}`;
        if (behind.sinceMs === 0) behind.sinceMs = run.sinceMs;
      }
    },
  };
}

function electOne(rivals: Rivals): Run {
  const { pending } = rivals;
  const [lone] = pending;
  // Most keys stand alone in their chunk.
  if (lone !== undefined && pending.length === 1) {
    pending.pop();
    rivals.leader = lone;
    return lone;
  }
  const comparable = firstComparable(pending);
  const leader = newest(comparable);
  rivals.leader = leader;
  rivals.followers = comparable.filter((run) => run !== leader);
  rivals.pending = pending.slice(comparable.length);
  return leader;
}

/**
 * The longest run of first messages that can be compared: all with a version of one kind, or all without. A message of
 * the other sort ends it and has its turn afterwards, so that what cannot be compared happens in order of arrival.
 */
function firstComparable(pending: readonly Run[]): readonly Run[] {
  const kind = pending[0]?.change?.version?.kind;
  const end = pending.findIndex((run) => run.change?.version?.kind !== kind);
  return end === -1 ? pending : pending.slice(0, end);
}

function newest(runs: readonly Run[]): Run {
  return runs.reduce((best, run) => (isOlder(run, best) ? best : run));
}

/** A delete of the same version is the newer one: a tie belongs to the delete. Else what arrived later is. */
function isOlder(run: Run, than: Run): boolean {
  const mine = run.change?.version;
  const its = than.change?.version;
  if (mine === undefined || its === undefined) return false;
  const order = compareDigits(mine.digits, its.digits);
  if (order !== 0) return order < 0;
  return than.change?.op === 'delete' && run.change?.op !== 'delete';
}
