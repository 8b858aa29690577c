import { monotonicFactory } from 'ulid';
import { createIdempotency } from '../adapters/redis-idempotency.ts';
import { redisReason } from '../adapters/redis-connection.ts';
import { CachewrightError, fail } from '../core/errors.ts';
import type { Service } from '../core/service.ts';
import { formatVersion } from '../core/version.ts';
import { adminMessages } from '../ingest/admin.ts';
import type { ReadRecord } from '../read/read-record.ts';
import type { AppView, RecordView } from '../server/app-view.ts';
import { type FencedRecord, resetFence, showFence } from './fences.ts';
import type { Parts } from './parts.ts';
import { createQueueViews } from './queue-views.ts';
import { durabilityOf } from './redis-roles.ts';

/** What the HTTP server sees of a process. */
export function createView(
  parts: Parts,
  state: { readonly missing: () => string[]; readonly health: () => { healthy: boolean; reason: string } },
): AppView {
  const { connections, prefix, services, reader, parse, submit, audit, log } = parts;
  const idempotency = createIdempotency(connections.queue, prefix);
  const queues = createQueueViews(parts);
  const nextId = monotonicFactory();
  const known = (service: string): Service => {
    const found = services.get(service);
    if (found === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
    return found;
  };
  const recordOf = (service: string, id: string): FencedRecord => {
    const { keyOf, version } = known(service);
    return { service, id, key: keyOf(id), kind: version.kind };
  };
  const nowMs = (): number => parts.clock.now();
  return {
    instance: parts.instance,
    nowMs,
    live() {
      const { healthy, reason } = state.health();
      return { live: healthy, reason };
    },
    missing: async () => state.missing(),
    isBlind: () => parts.coherence.state() === 'blind',
    async get(service, id) {
      const record = await reader.get(known(service), id);
      return record === undefined ? undefined : viewOf(record);
    },
    async getMany(service, ids) {
      const outcomes = await reader.getMany(known(service), ids);
      return outcomes.map((outcome) =>
        outcome.kind === 'found' ? { kind: 'found', record: viewOf(outcome.record) } : outcome,
      );
    },
    async admin({ action, service, ids, reason }) {
      const atMs = Math.floor(nowMs());
      const messages = adminMessages(known(service), { action, ids, reason }, atMs, () => nextId(atMs));
      const [stream] = messages.map(({ origin }) => origin.stream);
      log.info({ action, service, ids: ids.length, reason, stream }, `an operator asks to ${action}`);
      return submit(messages, { idPrefix: 'admin' });
    },
    async check(message) {
      const result = await parse(message);
      return result.kind === 'rejected' ? result.error : undefined;
    },
    async submit(messages) {
      const reason = await parts.backPressure.reason();
      if (reason !== '') throw fail('E_QUEUE_FULL', { reason });
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
    fences: {
      show: async (service, id) => showFence(recordOf(service, id), { cache: connections.cache, nowMs }),
      reset: async (service, id, reason) =>
        resetFence(recordOf(service, id), reason, {
          ...connections,
          outbox: parts.keys.auditOutbox,
          by: parts.instance,
          nowMs,
        }),
    },
    deadLetters: parts.deadLetters,
    redrivePerSecond: parts.config.deadLetters.redrivePerSecond,
    queues,
  };
}

function viewOf({ text, version, tier, ageMs, isBlind, entry }: ReadRecord): RecordView {
  return {
    text,
    isBlind,
    version: version === undefined ? '' : formatVersion(version),
    tier,
    ageMs,
    held: tier === 'local' ? entry : undefined,
  };
}
