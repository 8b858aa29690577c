/** Bugs between the read path, or the follower of the invalidation log, and their ports. */
import type { InvalidationLog, LogEntry } from '../../../src/core/ports.ts';
import type { PlantedBug } from './planted-bugs.ts';

export const PLANTED_READ_BUGS: Readonly<Record<string, PlantedBug>> = {
  'the follower overlooks that entries are missing': {
    invariant: 2,
    mostSeeds: 60,
    faults: ['log trimmed'],
    plants: { log: withoutGaps },
  },
  'the follower passes over what other instances wrote': {
    invariant: 3,
    mostSeeds: 10,
    plants: { log: (log) => withEntries(log, (entry) => ({ ...entry, changes: () => [] })) },
  },
  'a fill is kept though its key changed while it was read': {
    invariant: 2,
    mostSeeds: 200,
    faults: ['answers slow'],
    plants: { generations: (generations) => ({ ...generations, bump: () => undefined }) },
  },
  'a blind instance answers from its local tier': {
    invariant: 2,
    mostSeeds: 30,
    faults: ['log out of reach'],
    plants: { coherence: (coherence) => ({ ...coherence, state: () => 'fresh' }) },
  },
  'an entry that is known to be old is not dropped': {
    invariant: 3,
    mostSeeds: 60,
    plants: {
      local: (tier) => ({
        ...tier,
        discard: (key, token) => tier.discard(key, token),
      }),
    },
  },
  'the follower passes over writes of its own whose answer has not come': {
    invariant: 2,
    mostSeeds: 300,
    faults: ['answers slow', 'lostReply tier.write'],
    plants: {
      ownWrites: (_own, process) => ({
        stateOf: (name) => (name.startsWith(`${process}/`) ? 'taken' : 'unknown'),
      }),
    },
  },
  'a lease is never given back': {
    invariant: 6,
    mostSeeds: 60,
    faults: [],
    plants: { leases: (leases) => ({ ...leases, release: async () => undefined }) },
  },
  'everybody gets the lease': {
    invariant: 6,
    mostSeeds: 60,
    faults: [],
    plants: {
      leases: (leases) => ({ ...leases, acquire: async (keys) => keys.map(() => ({ kind: 'acquired' })) }),
    },
  },
};

function withEntries(log: InvalidationLog, change: (entry: LogEntry) => LogEntry): InvalidationLog {
  return { ...log, read: async (after, waitMs) => (await log.read(after, waitMs)).map(change) };
}

/** Every entry seems to begin where the one before it ended, and the log to end where it was read to. */
function withoutGaps(log: InvalidationLog): InvalidationLog {
  let last: number | undefined;
  return {
    ...log,
    async end() {
      const end = await log.end();
      last ??= end.sequence;
      return { ...end, sequence: last };
    },
    async read(after, waitMs) {
      const entries = await log.read(after, waitMs);
      let at = after.sequence;
      return entries.map((entry) => {
        const closed = { ...entry, after: at };
        at = entry.sequence;
        last = at;
        return closed;
      });
    },
  };
}
