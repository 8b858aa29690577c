import { randomUUID } from 'node:crypto';
import type { RedisClient } from './redis-connection.ts';

/** After the death of its holder others wait at most so long, milliseconds. */
const LEASE_MS = 10_000;
/** Renewed when this much of it has passed, milliseconds. */
const RENEW_AFTER_MS = 3_000;

/** Takes the lease when it is free, renews it when it is mine. KEYS lease · ARGV token, milliseconds */
const HOLD = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

/** Lets one process of a fleet do what would be wasteful, or seen twice outside, if all did it. */
export interface MoverLease {
  /** Whether this process may go on. Rejects when Redis does not answer. */
  hold(): Promise<boolean>;
  release(): Promise<void>;
}

/**
 * A lease by time: a holder that was stopped for longer may still end what it had begun, so what is done under it must
 * bear being done twice.
 */
export function createMoverLease(redis: RedisClient, key: string): MoverLease {
  const token = randomUUID();
  let heldMs = Number.NEGATIVE_INFINITY;
  return {
    async hold() {
      const nowMs = performance.now();
      if (nowMs - heldMs < RENEW_AFTER_MS) return true;
      const isMine = (await redis.eval(HOLD, 1, key, token, LEASE_MS)) === 1;
      heldMs = isMine ? nowMs : Number.NEGATIVE_INFINITY;
      return isMine;
    },
    async release() {
      heldMs = Number.NEGATIVE_INFINITY;
      await redis.eval(RELEASE, 1, key, token);
    },
  };
}
