import { DEAD_LETTER_QUEUE } from '../adapters/bullmq-dead-letters.ts';
import { openQueueViews } from '../adapters/bullmq-views.ts';
import { createIdempotency } from '../adapters/redis-idempotency.ts';
import { redisReason } from '../adapters/redis-connection.ts';
import { CachewrightError, fail } from '../core/errors.ts';
import { formatVersion } from '../core/version.ts';
import type { AppView } from '../server/app-view.ts';
import { QUEUE, type Parts } from './parts.ts';
import { durabilityOf } from './redis-roles.ts';

/** What the HTTP server sees of a process. */
export function createView(
  parts: Parts,
  state: { readonly missing: () => string[]; readonly health: () => { healthy: boolean; reason: string } },
): AppView {
  const { connections, prefix, services, reader, parse, submit, audit, log } = parts;
  const idempotency = createIdempotency(connections.queue, prefix);
  const queues = openQueueViews([QUEUE, DEAD_LETTER_QUEUE], {
    connection: connections.blocking,
    prefix,
    log,
  });
  return {
    instance: parts.instance,
    nowMs: () => parts.clock.now(),
    live() {
      const { healthy, reason } = state.health();
      return { live: healthy, reason };
    },
    missing: async () => state.missing(),
    async get(service, id) {
      const found = services.get(service);
      if (found === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
      const record = await reader.get(found, id);
      if (record === undefined) return undefined;
      const version = record.entry === undefined ? '' : formatVersion(record.entry.version);
      return { text: record.text, version, tier: record.tier, ageMs: record.ageMs };
    },
    async check(message) {
      const result = await parse(message);
      return result.kind === 'rejected' ? result.error : undefined;
    },
    async submit(messages) {
      await submit(messages, { idPrefix: 'http' });
    },
    // Asked when everything is taken: a Redis that is lost just then must not make a failure of it.
    durability: () => durabilityOf(connections.queue).catch(() => 'unknown'),
    async remember(key, contentHash, ids) {
      try {
        return await idempotency.remember(key, contentHash, ids);
      } catch (thrown) {
        if (thrown instanceof CachewrightError) throw thrown;
        throw fail('E_ENQUEUE_FAILED', { reason: redisReason(thrown) });
      }
    },
    trail: (query) => audit.find(query),
    queues,
  };
}
