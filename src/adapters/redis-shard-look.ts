import type { QueueKeys } from './bullmq-keys.ts';
import type { RedisClient } from './redis-connection.ts';

/** KEYS lists and sets of jobs, then three streams · returns whether anything waits in one of them. */
const HAS_WORK = `
for at = 1, #KEYS - 3 do if redis.call('EXISTS', KEYS[at]) == 1 then return 1 end end
for at = #KEYS - 2, #KEYS do if redis.call('XLEN', KEYS[at]) > 0 then return 1 end end
return 0
`;

/** Whether a shard holds a job that is not finished, or an entry of an outbox that was not moved. */
export async function hasShardWork(
  redis: RedisClient,
  { unfinished, auditOutbox, deadOutbox, deadKafkaOutbox }: QueueKeys,
): Promise<boolean> {
  const keys = [...unfinished, auditOutbox, deadOutbox, deadKafkaOutbox];
  return (await redis.eval(HAS_WORK, keys.length, ...keys)) === 1;
}

/** KEYS any key of the slot · returns the run id of the server that has it. */
const RUN_ID = `
redis.call('EXISTS', KEYS[1])
return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
`;

/** The id that the server of this key gave itself at its start: after a restart or a failover it is another. */
export async function runIdOfSlot(redis: RedisClient, key: string): Promise<string> {
  return String(await redis.eval(RUN_ID, 1, key));
}
