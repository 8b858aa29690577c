import { connectRedis, describeRedis, type RedisClient, waitForRedis } from '../adapters/redis-connection.ts';
import { fail } from '../core/errors.ts';

/** How long a command waits for an answer, milliseconds; a refused connection is not waited for. */
const CONNECT_TIMEOUT_MS = 3_000;

/**
 * Connects for one command, works, and leaves. A connection that is lost later is made anew.
 *
 * @throws `E_UNREACHABLE`, and what the work throws
 */
export async function withRedis<Result>(
  url: string,
  commandTimeoutMs: number,
  work: (redis: RedisClient) => Promise<Result>,
): Promise<Result> {
  let reason = 'the connection was closed';
  const redis = connectRedis({
    url,
    name: 'cachewright-cli',
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    commandTimeoutMs,
    onError: (why) => {
      reason = why;
    },
  });
  const what = describeRedis(url);
  const { promise: refused, reject } = Promise.withResolvers<never>();
  const giveUp = (): void => reject(fail('E_UNREACHABLE', { what, reason }));
  redis.once('close', giveUp);
  try {
    await Promise.race([waitForRedis(redis, { what, timeoutMs: CONNECT_TIMEOUT_MS }), refused]);
    redis.off('close', giveUp);
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
