import { Cluster } from 'ioredis';
import { fail } from '../core/errors.ts';
import type { TierBeat, TierMarks, TierRepair } from '../core/ports.ts';
import { queueKeys } from './bullmq-keys.ts';
import { mastersOf, type RedisClient } from './redis-connection.ts';

/** Bumped when the text of a beat changes. */
const BEAT_FORMAT = 1;

const COMPARE_AND_SET = `
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored == ARGV[3] then return 1 end
if stored ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
`;

/** KEYS the beat · ARGV text it must have ('' none), text it gets, run id of the server that must take it ('': any). */
const BEAT_CACHE = `
if ARGV[3] ~= '' and string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') ~= ARGV[3] then return 0 end
local stored = redis.call('GET', KEYS[1]) or ''
if stored ~= ARGV[1] and stored ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`;

/**
 * KEYS wait, paused, active, then delayed, prioritized, failed · returns how the ids of each partition's jobs begin, and
 * the lowest first offset among them, by turns. Ids of other jobs (posted changes, files) have another form.
 */
const UNFINISHED = `
local lowest = {}
local function see(ids)
  for _, id in ipairs(ids) do
    local partition, first = string.match(id, '^(.+)%.%d+%.(%d+)%-%d+')
    if partition then
      local known = lowest[partition]
      if not known or #first < #known or (#first == #known and first < known) then lowest[partition] = first end
    end
  end
end
for at = 1, 3 do see(redis.call('LRANGE', KEYS[at], 0, -1)) end
for at = 4, 6 do see(redis.call('ZRANGE', KEYS[at], 0, -1)) end
local reply = {}
for partition, first in pairs(lowest) do
  reply[#reply + 1] = partition
  reply[#reply + 1] = first
end
return reply
`;

/** KEYS the lease · ARGV holder, milliseconds. */
const HOLD = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

export interface RedisTierMarksOptions {
  readonly queueRedis: RedisClient;
  readonly cacheRedis: RedisClient;
  /** The queue's hash-tagged prefix, e.g. `{cachewright}`; the key in the cache's Redis begins with it too. */
  readonly prefix: string;
  /** BullMQ's name of the queue. */
  readonly queue: string;
  /** The hash-tagged prefixes of all shards of the queue there are. @defaultValue `prefix` alone */
  readonly queues?: () => readonly string[];
}

/** The tier mark in two servers: `<prefix>:tier-mark`, a hash in the queue's Redis and a text in the cache's. */
export function createRedisTierMarks(options: RedisTierMarksOptions): TierMarks {
  const { queueRedis, cacheRedis, prefix, queue, queues = () => [prefix] } = options;
  const key = `${prefix}:tier-mark`;
  const move = async (field: string, from: string, to: string): Promise<boolean> =>
    (await queueRedis.eval(COMPARE_AND_SET, 1, key, field, from, to)) === 1;

  return {
    server: () => serverOf(cacheRedis),
    queueBeat: async () => beatOf(await queueRedis.hget(key, 'beat')),
    cacheBeat: async () => beatOf(await cacheRedis.get(key)),
    async beatCache(from, to) {
      const server = cacheRedis instanceof Cluster ? '' : to.server;
      return (await cacheRedis.eval(BEAT_CACHE, 1, key, textOf(from), textOf(to), server)) === 1;
    },
    beatQueue: (from, to) => move('beat', textOf(from), textOf(to)),
    async unfinished() {
      const replies = await Promise.all(
        queues().map((shard) => {
          const { unfinished } = queueKeys(shard, queue);
          return queueRedis.eval(UNFINISHED, unfinished.length, ...unfinished);
        }),
      );
      const texts = replies.flat().map(String);
      const found = new Map<string, string>();
      for (let at = 0; at + 1 < texts.length; at += 2) {
        const [ids = '', first = '0'] = [texts[at], texts[at + 1]];
        const known = found.get(ids);
        if (known === undefined || BigInt(first) < BigInt(known)) found.set(ids, first);
      }
      return found;
    },
    async repair() {
      const text = await queueRedis.hget(key, 'repair');
      return text === null ? null : (JSON.parse(text) as TierRepair);
    },
    moveRepair: (from, to) =>
      move('repair', from === null ? '' : JSON.stringify(from), to === null ? '' : JSON.stringify(to)),
    holdRepair: async (holder, forMs) =>
      (await queueRedis.eval(HOLD, 1, `${key}:repair`, holder, String(forMs))) === 1,
  };
}

/** The run ids of all masters: each start of a server has another. */
async function serverOf(redis: RedisClient): Promise<string> {
  const ids = await Promise.all(
    mastersOf(redis).map(
      async (server) => /^run_id:([0-9a-f]+)/m.exec(await server.info('server'))?.[1] ?? '',
    ),
  );
  return ids.toSorted().join(' ');
}

/** Always the same text for the same beat: the comparison is by text. */
function textOf(beat: TierBeat | null): string {
  if (beat === null) return '';
  const { sequence, by, falls, server, done } = beat;
  return JSON.stringify({ format: BEAT_FORMAT, sequence, by, falls, server, done });
}

function beatOf(text: string | null): TierBeat | null {
  if (text === null) return null;
  const { format, ...beat } = JSON.parse(text) as TierBeat & { format: number };
  if (format !== BEAT_FORMAT) throw fail('E_FORMAT_NEWER', { what: 'tier mark', format, known: BEAT_FORMAT });
  return beat;
}
