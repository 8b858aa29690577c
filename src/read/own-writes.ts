import type { Clock, LogEntry, RedisTier } from '../core/ports.ts';

/**
 * What became of a write that the invalidation log announces. `taken`: it was answered, and whoever wrote it has offered it to
 * the local tier. `underWay`: it is not answered yet. `unknown`: it is another instance's, or an answer did not come.
 */
export type OwnWriteState = 'taken' | 'underWay' | 'unknown';

export interface OwnWriteStates {
  /** @param name as the log has it */
  stateOf(name: string): OwnWriteState;
}

/** The writes of one instance. */
export interface OwnWrites extends OwnWriteStates {
  /** The Redis tier for those who offer to the local tier at once what Redis has taken: the pipeline, and the read path. */
  over(tier: RedisTier): RedisTier;
}

/** @param instance a name that no other instance has */
export function createOwnWrites(instance: string): OwnWrites {
  const underWay = new Set<string>();
  let era = 1;
  let calls = 0;
  const prefix = (): string => `${instance}/${era}.`;

  return {
    stateOf(name) {
      if (!name.startsWith(prefix())) return 'unknown';
      return underWay.has(name) ? 'underWay' : 'taken';
    },
    over: (tier) => ({
      ...tier,
      async write(writes) {
        const name = `${prefix()}${(calls += 1)}`;
        let isAnswered = false;
        underWay.add(name);
        try {
          const results = await tier.write(writes, name);
          isAnswered = !results.some(({ kind }) => kind === 'failed');
          return results;
        } finally {
          underWay.delete(name);
          // It may yet be done, long after the local tier was filled with what it replaces: no name is known from here on.
          if (!isAnswered) era += 1;
        }
      },
    }),
  };
}

/** How much later than its announcement the answer to a write may come before the local tier does without it, milliseconds. */
const ANSWER_MS = 250;

/** Entries of the log that are this instance's own: its local tier has what they announce, or has it with the answer. */
export interface OwnEntries {
  /** false: it is to be heeded like another instance's. */
  takes(entry: LogEntry): boolean;
  /** Entries it took whose answer is long in coming, or did not come: for so long the local tier would be behind Redis. */
  overdue(): readonly LogEntry[];
  clear(): void;
}

export function createOwnEntries(writes: OwnWriteStates, clock: Clock): OwnEntries {
  let waiting: { readonly entry: LogEntry; readonly heardMs: number }[] = [];
  return {
    takes(entry) {
      const state = writes.stateOf(entry.writer);
      if (state === 'underWay') waiting.push({ entry, heardMs: clock.now() });
      return state !== 'unknown';
    },
    overdue() {
      if (waiting.length === 0) return [];
      const sinceMs = clock.now() - ANSWER_MS;
      const open = waiting.filter(({ entry }) => writes.stateOf(entry.writer) !== 'taken');
      const isOverdue = ({ entry, heardMs }: (typeof waiting)[number]): boolean =>
        heardMs <= sinceMs || writes.stateOf(entry.writer) === 'unknown';
      waiting = open.filter((own) => !isOverdue(own));
      return open.filter(isOverdue).map(({ entry }) => entry);
    },
    clear() {
      waiting = [];
    },
  };
}
