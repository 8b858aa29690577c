import { fail } from '../core/errors.ts';
import type { Outbox } from '../core/ports.ts';
import { redisReason, type RedisClient } from './redis-connection.ts';

/**
 * Reads an outbox stream from its head and removes what was handled, by id: that is right whatever the ids do. After a
 * rollback or a failover of Redis they may go back or forward, and a cursor, or trimming up to an id, would then skip or
 * delete entries nobody has read.
 *
 * @param redis fails fast (`connectRedis`); closed by `close`
 * @param name the stream's key; its entries have the one field `e`
 */
export function createRedisOutbox(redis: RedisClient, name: string): Outbox {
  const guarded = <T>(command: Promise<T>): Promise<T> => reaching(name, command);
  return {
    name,
    async read(count) {
      const entries = await guarded(redis.xrange(name, '-', '+', 'COUNT', count));
      return entries.map(([id, fields]) => ({ id, json: fields[fields.indexOf('e') + 1] ?? '' }));
    },
    async remove(ids) {
      if (ids.length > 0) await guarded(redis.xdel(name, ...ids));
    },
    length: () => guarded(redis.xlen(name)),
    close() {
      redis.disconnect();
      return Promise.resolve();
    },
  };
}

/**
 * Puts an entry into an outbox from outside an execution, whose closing script does that by itself.
 *
 * @throws `E_UNREACHABLE`
 */
export async function appendToOutbox(redis: RedisClient, name: string, json: string): Promise<void> {
  await reaching(name, redis.xadd(name, '*', 'e', json));
}

async function reaching<T>(name: string, command: Promise<T>): Promise<T> {
  try {
    return await command;
  } catch (error) {
    throw fail('E_UNREACHABLE', { what: `The outbox ${name} in Redis`, reason: redisReason(error) });
  }
}
