import type { Log } from '../core/ports.ts';
import { isUsable, type RedisClient, redisReason } from './redis-connection.ts';
import { runIdOfSlot } from './redis-shard-look.ts';

/** Tells of reconnects and of another run id: what was confirmed before may be lost. */
export interface RedisReturns {
  /** Returns how to stop listening. */
  onReturn(listener: (reason: string) => void): () => void;
  /** Ends the watch. */
  stop(): void;
}

export interface RedisReturnsOptions {
  readonly connection: RedisClient;
  /** A key of each slot that matters: of a Redis Cluster the right nodes answer for them. */
  readonly slots: readonly string[];
  /** How often to ask for the servers' run ids, milliseconds: a failover behind one address may keep the connection. @defaultValue 10_000 */
  readonly watchMs?: number;
  readonly log: Log;
}

export function watchReturns({
  connection,
  slots,
  watchMs = 10_000,
  log,
}: RedisReturnsOptions): RedisReturns {
  const listeners = new Set<(reason: string) => void>();
  const tell = (reason: string): void => {
    for (const listener of listeners) listener(reason);
  };
  let isFirst = connection.status !== 'ready';
  let runId = '';
  const onReady = (): void => {
    if (!isFirst) tell('Redis is connected again');
    isFirst = false;
  };
  const compareRunId = async (): Promise<void> => {
    if (!isUsable(connection)) return;
    try {
      const ids = await Promise.all(slots.map((key) => runIdOfSlot(connection, key)));
      const now = ids.join(' ');
      if (runId !== '' && now !== runId) tell('Redis was started anew, or another server took over');
      runId = now;
    } catch (error) {
      log.debug({ err: redisReason(error) }, 'the run id of Redis is not known');
    }
  };
  connection.on('ready', onReady);
  const timer = setInterval(() => void compareRunId(), watchMs);
  timer.unref();
  void compareRunId();
  return {
    onReturn(listener: (reason: string) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop(): void {
      clearInterval(timer);
      connection.off('ready', onReady);
      listeners.clear();
    },
  };
}
