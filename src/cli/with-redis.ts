import { connectRedis, describeRedis, type RedisClient, waitForRedis } from '../adapters/redis-connection.ts';

/** How long a command waits for Redis, milliseconds. */
const CONNECT_TIMEOUT_MS = 3_000;

/**
 * Connects, works, and leaves.
 *
 * @throws `E_UNREACHABLE`, and what the work throws
 */
export async function withRedis<Result>(
  url: string,
  commandTimeoutMs: number,
  work: (redis: RedisClient) => Promise<Result>,
): Promise<Result> {
  const redis = connectRedis({
    url,
    name: 'cachewright-cli',
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    commandTimeoutMs,
    onError: () => undefined,
  });
  try {
    await waitForRedis(redis, { what: describeRedis(url), timeoutMs: CONNECT_TIMEOUT_MS });
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
