import { createHash } from 'node:crypto';
import type { RedisClient } from './redis-connection.ts';

/** A Lua script as it is called: EVALSHA, and EVAL when the server does not have it (a fresh one, or after SCRIPT FLUSH). */
export function compileScript(
  text: string,
): (redis: RedisClient, keys: number, args: string[]) => Promise<unknown> {
  const sha = createHash('sha1').update(text).digest('hex');
  return async (redis, keys, args) => {
    try {
      return await redis.evalsha(sha, keys, ...args);
    } catch (thrown) {
      if (!(thrown instanceof Error) || !thrown.message.startsWith('NOSCRIPT')) throw thrown;
      return redis.eval(text, keys, ...args);
    }
  };
}
