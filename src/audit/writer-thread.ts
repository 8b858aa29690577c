/**
 * The root of the audit thread: it builds the outbox, the store and the writer, and answers the main thread. SQLite
 * blocks, and its work is about a third of the service's, so it has a thread of its own.
 */
import { once } from 'node:events';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type {
  AuditThreadData,
  FromAuditThread,
  PostedError,
  ToAuditThread,
} from '../adapters/audit-thread-messages.ts';
import { connectRedis, describeRedis, waitForRedis } from '../adapters/redis-connection.ts';
import { createRedisOutbox } from '../adapters/redis-outbox.ts';
import { createSqliteAudit, openSqliteAuditReader } from '../adapters/sqlite-audit.ts';
import { systemClock } from '../core/clock.ts';
import { asError, fail } from '../core/errors.ts';
import type { AuditLag, AuditReader, AuditStore } from '../core/ports.ts';
import { createShardWriters, type ShardWriters, sumOf } from './shard-writers.ts';
import { measureLag } from './writer.ts';

/** How often a standby asks for the lease, and a store that cannot be opened is tried again, milliseconds. */
const OPEN_AGAIN_MS = 1_000;

function start(port: MessagePort, data: AuditThreadData): void {
  const clock = systemClock();
  const say = (message: FromAuditThread): void => port.postMessage(message);
  const onError = (thrown: unknown): void => say({ kind: 'error', error: posted(thrown) });
  const redis = connectRedis({
    url: data.redisUrl,
    name: 'cachewright-audit',
    connectTimeoutMs: data.connectTimeoutMs,
    commandTimeoutMs: data.commandTimeoutMs,
    // The writer's own next read fails and tells it.
    onError: () => undefined,
  });
  const outboxes = data.outboxes.map((name) => createRedisOutbox(redis, name));
  const stop = new AbortController();
  let store: AuditStore | undefined;
  let writers: ShardWriters | undefined;

  const open = async (): Promise<AuditStore | undefined> => {
    let isStandby = false;
    while (!stop.signal.aborted) {
      try {
        return createSqliteAudit({ file: data.file, onDefect: (defect) => say({ kind: 'defect', defect }) });
      } catch (thrown) {
        const error = asError(thrown);
        if (!isStandby) onError(error);
        if (error.code === 'E_AUDIT_BUSY' && !isStandby) say({ kind: 'standby' });
        isStandby = error.code === 'E_AUDIT_BUSY';
        // Ingest pauses by it, whoever writes; an outbox that is away is told once there is a writer.
        await Promise.all(outboxes.map((outbox) => measureLag(outbox, clock))).then(
          (lags) => say({ kind: 'lag', lag: sumOf(lags) }),
          () => undefined,
        );
        await clock.sleep(OPEN_AGAIN_MS, stop.signal).catch(() => undefined);
      }
    }
    return undefined;
  };

  const work = async (): Promise<void> => {
    store = await open();
    if (store === undefined) return;
    say({ kind: 'ready' });
    const onLag = (lag: AuditLag): void => say({ kind: 'lag', lag });
    writers = createShardWriters(outboxes, { store, clock, onLag, onError });
    // Not yet connected is no failure; one that lasts is told, and the writer then goes on trying.
    const connected = waitForRedis(redis, {
      what: describeRedis(data.redisUrl),
      timeoutMs: data.connectTimeoutMs,
    });
    await Promise.race([connected.catch(onError), once(stop.signal, 'abort')]);
    await writers.run(stop.signal);
  };
  const working = work();

  /** Before there is a store of our own, the file of whoever has it is read. */
  const ask = async <T>(question: (reader: AuditReader) => Promise<T>): Promise<T> => {
    if (store !== undefined) return question(store);
    const reader = openSqliteAuditReader(data.file);
    return question(reader).finally(() => void reader.close());
  };

  const close = async (id: number, deadlineMs: number): Promise<void> => {
    const isFlushed = (await writers?.flush(deadlineMs)) ?? false;
    stop.abort();
    await working;
    await store?.close().catch(onError);
    redis.disconnect();
    say({ kind: 'closed', id, isFlushed });
    port.close();
  };

  const handle = async (message: ToAuditThread): Promise<void> => {
    const { id } = message;
    switch (message.kind) {
      case 'find':
        return say({ kind: 'found', id, records: await ask((reader) => reader.find(message.query)) });
      case 'count':
        return say({ kind: 'counted', id, rows: await ask((reader) => reader.count()) });
      case 'follow': {
        const more = message.outboxes.map((name) => createRedisOutbox(redis, name));
        outboxes.push(...more);
        for (const outbox of more) writers?.follow(outbox);
        return say({ kind: 'followed', id });
      }
      case 'flush':
        return say({ kind: 'flushed', id, isDone: (await writers?.flush(message.deadlineMs)) ?? false });
      case 'close':
        return close(id, message.deadlineMs);
    }
  };
  port.on('message', (message: ToAuditThread) => {
    handle(message).catch((thrown: unknown) =>
      say({ kind: 'failed', id: message.id, error: posted(thrown) }),
    );
  });
}

function posted(thrown: unknown): PostedError {
  const { code, details } = asError(thrown);
  const plain: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(details))
    plain[name] = typeof value === 'number' ? value : String(value);
  return { code, details: plain };
}

const data: AuditThreadData = workerData;
if (parentPort === null) throw fail('E_UNEXPECTED', { what: 'the audit thread was started as a program' });
start(parentPort, data);
