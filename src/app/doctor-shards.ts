import { mastersOf, type RedisClient } from '../adapters/redis-connection.ts';
import { hasShardWork, runIdOfSlot } from '../adapters/redis-shard-look.ts';
import type { Config } from '../config/schema.ts';
import type { Log } from '../core/ports.ts';
import { type Finding, found, ok } from './finding.ts';
import { openQueueShards, QUEUE, type QueueShard } from './queue-shards.ts';
import { redisInfos } from './redis-roles.ts';

/** The shards of the queue, where there are several: what waits in each, and on which master of a cluster it is. */
export async function checkShards(config: Config, redis: RedisClient, log: Log): Promise<readonly Finding[]> {
  const { register, all } = openQueueShards({ config, redis, log });
  if ((await register.look()) === 1) return [];
  const masters = new Map((await redisInfos(redis)).map(({ where, info }) => [info.get('run_id'), where]));
  const isCluster = mastersOf(redis)[0] !== redis;
  const looks = await Promise.all(all().map((shard) => lookAt(shard, config, redis, masters, isCluster)));
  const { shards } = config.queue;
  const left = looks.filter(({ number, isLeft }) => number >= shards && isLeft);
  const summary = ok('queue', `${shards} shard(s); ${looks.map(({ text }) => text).join(' · ')}`);
  if (left.length === 0) return [summary];
  const numbers = left.map(({ number }) => number).join(', ');
  return [
    summary,
    found(
      'queue',
      `something is left in shard(s) ${numbers}, which are not configured any more`,
      'Nothing, while a worker runs: it empties them.',
    ),
  ];
}

async function lookAt(
  { number, prefix, keys, queue }: QueueShard,
  config: Config,
  redis: RedisClient,
  masters: ReadonlyMap<string | undefined, string>,
  isCluster: boolean,
): Promise<{ readonly number: number; readonly isLeft: boolean; readonly text: string }> {
  const [{ jobs }, runId, isLeft] = await Promise.all([
    queue.depth(),
    runIdOfSlot(redis, `${prefix}:${QUEUE}`),
    number >= config.queue.shards && hasShardWork(redis, keys),
  ]);
  const where = isCluster ? ` on ${masters.get(runId) ?? 'an unknown master'}` : '';
  return { number, isLeft, text: `${number}: ${jobs} job(s)${where}` };
}
