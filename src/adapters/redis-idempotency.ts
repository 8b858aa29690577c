import { createHash } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { fail } from '../core/errors.ts';

/** How long a key is remembered, seconds: a day, as clients commonly retry. */
const REMEMBERED_S = 86_400;

/**
 * Remembers the message ids that a request with an `Idempotency-Key` was answered with, so that a repeat gets the same
 * ids and, the jobs' ids following from them, runs once. The key is hashed: no request chooses the name of a Redis key.
 */
export function createIdempotency(redis: Redis | Cluster, prefix: string) {
  return {
    /** @throws E_IDEMPOTENCY_REUSED when the key stood for other content */
    async remember(key: string, contentHash: string, ids: readonly string[]): Promise<readonly string[]> {
      const name = `${prefix}:idempotency:${createHash('sha256').update(key).digest('base64url')}`;
      const mine = JSON.stringify({ contentHash, ids });
      const earlier = await redis.set(name, mine, 'EX', REMEMBERED_S, 'NX', 'GET');
      if (earlier === null) return ids;
      const known = JSON.parse(earlier) as { contentHash: string; ids: string[] };
      if (known.contentHash !== contentHash) throw fail('E_IDEMPOTENCY_REUSED');
      return known.ids;
    },
  };
}
