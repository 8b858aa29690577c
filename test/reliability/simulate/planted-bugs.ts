/**
 * Bugs put between the product and its ports, to show that the simulation would notice. Each names the invariant that must
 * break, and within how many seeds.
 */
import { fenceKeyOf } from '../../../src/core/fence.ts';
import type { TierWrite } from '../../../src/core/ports.ts';
import { encodeFence } from '../../../src/core/fence.ts';
import type { Plants } from './instance.ts';
import { PLANTED_READ_BUGS } from './planted-read-bugs.ts';

export interface PlantedBug {
  readonly plants: Plants;
  /** The number of the invariant that notices it. */
  readonly invariant: number;
  /** The faults it needs; undefined: whatever the seed draws. */
  readonly faults?: readonly string[];
  readonly mostSeeds: number;
}

export const PLANTED_BUGS: Readonly<Record<string, PlantedBug>> = {
  ...PLANTED_READ_BUGS,
  'the fence is off: every write is taken': {
    invariant: 4,
    mostSeeds: 10,
    plants: {
      tier: (tier, { tier: memory }) => ({
        ...tier,
        async write(writes) {
          return writes.map((write) => {
            const { key, op, text, version, origin } = write;
            memory.cells.set(fenceKeyOf(key), { text: fenceOf(write), untilMs: 0 });
            if (op === 'upsert') memory.cells.set(key, { text, untilMs: 0 });
            else memory.cells.delete(key);
            return version === null || origin.stream === ''
              ? { kind: 'evicted', note: '' }
              : { kind: op === 'upsert' ? 'set' : 'evicted', note: '' };
          });
        },
      }),
    },
  },
  'the tombstone is dropped with the value': {
    invariant: 2,
    mostSeeds: 60,
    plants: {
      tier: (tier, { tier: memory }) => ({
        ...tier,
        async write(writes, as) {
          const results = await tier.write(writes, as);
          results.forEach(({ kind }, index) => {
            if (kind === 'evicted') memory.cells.delete(fenceKeyOf(writes[index]?.key ?? ''));
          });
          return results;
        },
      }),
    },
  },
  'a write is answered and not done': {
    invariant: 3,
    mostSeeds: 10,
    plants: {
      tier: (tier) => {
        let writes = 0;
        return {
          ...tier,
          async write(group, as) {
            const isDropped = (writes += 1) % 5 === 0;
            return isDropped ? group.map(() => ({ kind: 'set', note: '' })) : tier.write(group, as);
          },
        };
      },
    },
  },
  'the commit goes out before the messages are in the queue': {
    invariant: 1,
    mostSeeds: 60,
    faults: ['killAfter source.commit'],
    plants: {
      enqueue: async (enqueue, clock) => {
        void clock
          .sleep(400)
          .then(enqueue)
          .catch(() => undefined);
      },
      marks: (marks) => ({
        ...marks,
        moveBehind: async (stream, from, to) =>
          (await marks.move(stream, from, to)) ? 'moved' : 'elsewhere',
      }),
    },
  },
  'the mark moves whoever asks, and commits run ahead of it': {
    invariant: 5,
    mostSeeds: 60,
    plants: {
      marks: (marks) => ({
        ...marks,
        move: async () => true,
        moveBehind: async () => 'moved',
      }),
    },
  },
  'audit rows are lost between outbox and store': {
    invariant: 1,
    mostSeeds: 10,
    plants: {
      audit: ({ audit }) => {
        const append = audit.append.bind(audit);
        let calls = 0;
        audit.append = (outbox, entries) => {
          const isLost = (calls += 1) % 4 === 0;
          return append(outbox, isLost ? entries.map(({ id }) => ({ id, json: '{"format":1}' })) : entries);
        };
      },
    },
  },
  'dead letters are dropped': {
    invariant: 1,
    mostSeeds: 30,
    plants: {
      jobs: (jobs) => {
        const close = jobs.close.bind(jobs);
        jobs.close = (id, token, closing) => close(id, token, { ...closing, deadLetters: [] });
      },
    },
  },
  'messages that wait are forgotten by the closing': {
    invariant: 1,
    mostSeeds: 30,
    faults: ['source down'],
    plants: {
      jobs: (jobs) => {
        const close = jobs.close.bind(jobs);
        jobs.close = (id, token, closing) =>
          close(id, token, { ...closing, data: JSON.stringify({ format: 1, positions: [] }) });
      },
    },
  },
  'the local tier shows what Redis refused': {
    invariant: 2,
    mostSeeds: 200,
    plants: {
      local: (tier) => ({
        ...tier,
        async stage(entries, token) {
          await tier.stage(entries, token);
          for (const entry of entries) {
            tier.evict(entry.key, null);
            await tier.fill(entry);
          }
        },
      }),
    },
  },
};

function fenceOf({ op, version, origin }: TierWrite): string {
  if (op === 'upsert') return encodeFence('live', version, origin);
  return encodeFence(version === null ? 'observed' : 'tombstone', version, origin);
}
