/** The servers' ports as one process has them: over the network, with its delays and faults. */
import { fail } from '../../../src/core/errors.ts';
import type {
  AuditStore,
  BatchHandler,
  ChangeSource,
  ChunkQueue,
  MarkStore,
  Outbox,
  RedisTier,
  TierResult,
  TierWrite,
} from '../../../src/core/ports.ts';
import type { JobServer } from './job-server.ts';
import type { Network } from './network.ts';
import type { SimProcess } from './process.ts';

export interface Remote {
  readonly process: SimProcess;
  readonly network: Network;
}

const unavailable = (reason: string): Error => fail('E_REDIS_UNAVAILABLE', { reason });

export function remoteTier({ process, network }: Remote, tier: RedisTier): RedisTier {
  const unread = (reason: string): Error => fail('E_REDIS_READ', { reason });
  return {
    fences: (keys) => network.call(process, 'redis', 'tier.fences', () => tier.fences(keys), unread),
    read: (keys) => network.call(process, 'redis', 'tier.read', () => tier.read(keys), unread),
    async write(writes: readonly TierWrite[], as?: string): Promise<TierResult[]> {
      try {
        return await network.call(process, 'redis', 'tier.write', () => tier.write(writes, as), unavailable);
      } catch (thrown) {
        const error = fail('E_REDIS_UNAVAILABLE', { reason: String(thrown) });
        return writes.map(() => ({ kind: 'failed', error }));
      }
    },
    fillUnversioned: (key, text, ttlMs) =>
      network.call(process, 'redis', 'tier.fill', () => tier.fillUnversioned(key, text, ttlMs), unread),
    close: async () => undefined,
  };
}

/** @param mostTaken how many chunks of a call are taken before Redis is out of memory; Infinity when it is not */
export function remoteQueue(
  { process, network }: Remote,
  jobs: JobServer,
  mostTaken: () => number,
): ChunkQueue {
  const lost = (reason: string): Error => fail('E_ENQUEUE_FAILED', { reason });
  return {
    enqueue(chunks, sent) {
      const adding = network.call(
        process,
        'redis',
        'queue.enqueue',
        () => {
          const most = mostTaken();
          jobs.add(chunks, most);
          if (chunks.length > most) throw lost('OOM command not allowed');
        },
        lost,
      );
      sent?.();
      return adding;
    },
    depth: () =>
      network.call(process, 'redis', 'queue.depth', () => ({ jobs: jobs.size, bytes: jobs.bytes }), lost),
    close: async () => undefined,
  };
}

export function remoteMarks(
  { process, network }: Remote,
  marks: MarkStore,
): MarkStore & { comeBack(reason: string): void } {
  const listeners = new Set<(reason: string) => void>();
  const call = <T>(port: string, effect: () => Promise<T>): Promise<T> =>
    network.call(process, 'redis', port, effect, unavailable);
  return {
    settle: (stream) => marks.settle(stream),
    read: (stream) => call('marks.read', () => marks.read(stream)),
    latest: (stream) => call('marks.latest', () => marks.latest(stream)),
    move: (stream, from, to) => call('marks.move', () => marks.move(stream, from, to)),
    moveBehind: (stream, from, to, jobs) =>
      call('marks.move', () => marks.moveBehind(stream, from, to, jobs)),
    onReturn(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    comeBack(reason) {
      for (const listener of listeners) listener(reason);
    },
  };
}

/** Commits and looks go over the network; what is offered was fetched already. */
export function remoteSource({ process, network }: Remote, source: ChangeSource): ChangeSource {
  const lost = (reason: string): Error => fail('E_UNREACHABLE', { what: 'Kafka', reason });
  const call = <T>(port: string, effect: () => Promise<T>): Promise<T> =>
    network.call(process, 'kafka', port, effect, lost);
  const far = (handler: BatchHandler): BatchHandler => {
    return (batch) =>
      handler({
        ...batch,
        committed: () => call('source.committed', () => batch.committed()),
        commit: (offset) => call('source.commit', () => batch.commit(offset)),
      });
  };
  return {
    clusterId: source.clusterId,
    groupId: source.groupId,
    start: (handler) => source.start(far(handler)),
    assignments: () => source.assignments(),
    onAssigned: (listener) => source.onAssigned(listener),
    positions: () => source.positions(),
    partition(topic, partition) {
      const look = source.partition(topic, partition);
      return { ...look, committed: () => call('source.committed', () => look.committed()) };
    },
    restart: (reason) => source.restart(reason),
    isHealthy: () => source.isHealthy(),
    close: () => source.close(),
  };
}

export function remoteOutbox({ process, network }: Remote, jobs: JobServer): Outbox {
  const call = <T>(port: string, effect: () => T): Promise<T> =>
    network.call(process, 'redis', port, effect, unavailable);
  return {
    name: 'audit-outbox',
    read: (count) => call('outbox.read', () => jobs.audit.slice(0, count)),
    remove: (ids) =>
      call('outbox.remove', () => {
        const gone = new Set(ids);
        const left = jobs.audit.filter(({ id }) => !gone.has(id));
        jobs.audit.splice(0, jobs.audit.length, ...left);
      }),
    length: () => call('outbox.length', () => jobs.audit.length),
    close: async () => undefined,
  };
}

export function remoteStore({ process, network }: Remote, store: AuditStore): AuditStore {
  const lost = (reason: string): Error => fail('E_AUDIT_STORE', { reason });
  return {
    append: (outbox, entries) =>
      network.call(process, 'auditStore', 'store.append', () => store.append(outbox, entries), lost),
    cursor: (outbox) => network.call(process, 'auditStore', 'store.cursor', () => store.cursor(outbox), lost),
    find: (query) => store.find(query),
    count: () => store.count(),
    close: async () => undefined,
  };
}
