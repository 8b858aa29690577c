import { Redis } from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import type { PortWraps } from '../../src/app/parts.ts';
import { encodeFence, fenceKeyOf } from '../../src/core/fence.ts';
import type { AuditEntry } from '../../src/core/trail.ts';

/** Bugs that the suite has to find: each breaks one promise, between a port and those who use it. */
export const PLANTS = ['fence-off', 'commit-before-enqueue', 'tombstone-dropped', 'audit-row-lost'] as const;
export type Plant = (typeof PLANTS)[number];

/** How long the planted hand-off is behind what it says, milliseconds. */
const BEHIND_MS = 400;
/** One closing in so many loses a row. */
const LOSES_EVERY = 10;

export function plantWraps(plant: Plant, redisUrl: string): PortWraps {
  switch (plant) {
    case 'fence-off':
      return fenceOff(openRedis(redisUrl));
    case 'commit-before-enqueue':
      return commitBeforeEnqueue;
    case 'tombstone-dropped':
      return tombstoneDropped(openRedis(redisUrl));
    case 'audit-row-lost':
      return auditRowLost();
  }
}

function openRedis(url: string): Redis {
  const redis = new Redis(url);
  redis.on('error', () => undefined);
  return redis;
}

/** Whatever the fence would refuse is written all the same. */
function fenceOff(redis: Redis): PortWraps {
  return {
    redisTier: (tier) => ({
      ...tier,
      async write(writes, as) {
        const results = await tier.write(writes, as);
        return Promise.all(
          results.map(async (result, index) => {
            const write = writes[index];
            if (result.kind !== 'refused' || write?.op !== 'upsert' || write.version === null) return result;
            const fence = encodeFence('live', write.version, write.origin);
            await redis.mset(write.key, write.text, fenceKeyOf(write.key), fence);
            return { kind: 'set', note: '' } as const;
          }),
        );
      },
    }),
  };
}

/** The hand-off hears that its chunks are in the queue before they are. */
const commitBeforeEnqueue: PortWraps = {
  queue: (queue) => ({
    ...queue,
    async enqueue(chunks, sent) {
      sent?.();
      void delay(BEHIND_MS)
        .then(() => queue.enqueue(chunks))
        .catch(() => undefined);
    },
  }),
};

/** A delete leaves nothing behind that could refuse a late update. */
function tombstoneDropped(redis: Redis): PortWraps {
  return {
    redisTier: (tier) => ({
      ...tier,
      async write(writes, as) {
        const results = await tier.write(writes, as);
        const gone = writes.filter((_, index) => results[index]?.kind === 'evicted');
        if (gone.length > 0) await redis.del(gone.map(({ key }) => fenceKeyOf(key)));
        return results;
      },
    }),
  };
}

function auditRowLost(): PortWraps {
  let closings = 0;
  return {
    attempt: (attempt) => (execution) =>
      attempt({
        ...execution,
        close(closing) {
          closings += 1;
          if (closings % LOSES_EVERY !== 0) return execution.close(closing);
          const audit = closing.audit.map((json) => {
            const entry = JSON.parse(json) as AuditEntry;
            return JSON.stringify({ ...entry, rows: entry.rows.slice(1) });
          });
          return execution.close({ ...closing, audit });
        },
      }),
  };
}
