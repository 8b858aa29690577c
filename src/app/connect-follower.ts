import { connectRedis, type RedisClient, type RedisOptions } from '../adapters/redis-connection.ts';
import { BEAT_MS } from '../read/coherence.ts';

/** A connection for the follower of the invalidation log: it waits in Redis for what changes, for a beat and a command's time. */
export function connectFollower(options: RedisOptions): RedisClient {
  return connectRedis({ ...options, commandTimeoutMs: options.commandTimeoutMs + BEAT_MS });
}
