/**
 * How a group of writes is announced in the invalidation log: one entry of a Redis Stream, whose id is the log's epoch and
 * how many keys were announced with it and before it. So the id itself shows when something was missed, and trimming by
 * id bounds the log by keys, whatever the size of the groups.
 */
import { compileScript } from './redis-script.ts';
import type { RedisClient } from './redis-connection.ts';
import { decodeFence, encodeFence } from '../core/fence.ts';
import { fail } from '../core/errors.ts';
import type { Invalidation } from '../core/ports.ts';

/** The log and its counter: fixed names in one slot, so that every reader of a cache finds them. */
export const LOG_KEY = '{cachewright}:invalidations';
export const COUNTER_KEY = '{cachewright}:invalidations:counter';

/** Where a writer announces. */
export interface LogWriter {
  /** The name of what it announces. '' is nobody's. */
  readonly writer: string;
  /** About so many keys are kept in the log. */
  readonly maxKeys: number;
}

export const FORMAT = '1';

/**
 * Lua: `announce(log, counter, count, maxKeys, writer, payload)`. Without its counter the log begins anew, under an epoch
 * that is above every id it has seen.
 */
export const ANNOUNCE = `
local function newEpoch(log, counter)
  local time = redis.call('TIME')
  local epoch = time[1] * 1000 + math.floor(time[2] / 1000)
  local info = redis.pcall('XINFO', 'STREAM', log)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      epoch = math.max(epoch, tonumber(string.match(info[at + 1], '^%d+')) + 1)
    end
  end
  epoch = string.format('%.0f', epoch)
  redis.call('HSET', counter, 'epoch', epoch)
  return epoch
end

local function announce(log, counter, count, maxKeys, writer, payload)
  local sequence = redis.call('HINCRBY', counter, 'keys', count)
  local epoch = sequence > count and redis.call('HGET', counter, 'epoch') or newEpoch(log, counter)
  local oldest = string.format('%s-%.0f', epoch, math.max(0, sequence - maxKeys))
  local id = string.format('%s-%.0f', epoch, sequence)
  redis.call('XADD', log, 'MINID', '~', oldest, id, 'f', '${FORMAT}', 'n', count, 'w', writer, 'k', payload)
end
`;

const append = compileScript(`${ANNOUNCE}
announce(KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4])
return 1
`);

/** Appends one entry for these keys and their fences, by a call of its own. */
export async function announce(
  redis: RedisClient,
  { writer, maxKeys }: LogWriter,
  keys: readonly string[],
  fences: readonly string[],
): Promise<void> {
  const payload = [...keys, ...fences].join('\n');
  await append(redis, 2, [LOG_KEY, COUNTER_KEY, String(keys.length), String(maxKeys), writer, payload]);
}

/**
 * Tells every instance to drop a key whatever version it holds: its fence was taken away, and what is written next may be
 * lower. Trims nothing.
 */
export async function announceReset(redis: RedisClient, key: string): Promise<void> {
  const fence = encodeFence('observed', null, { stream: 'fence-reset', epoch: 0, position: '0' });
  await announce(redis, { writer: '', maxKeys: Number.MAX_SAFE_INTEGER }, [key], [fence]);
}

/** The fence that announces a change. */
export function fenceOf({ isDelete, version, origin }: Invalidation): string {
  if (version === null) return encodeFence('observed', null, origin);
  return encodeFence(isDelete ? 'tombstone' : 'live', version, origin);
}

/**
 * The changes of an entry: its keys, then their fences, a line each.
 *
 * @throws `E_FORMAT_NEWER`
 */
export function changesOf(format: string, payload: string): Invalidation[] {
  const lines = payload.split('\n');
  const count = lines.length / 2;
  if (format !== FORMAT || !Number.isInteger(count)) throw unreadable(format);
  return lines.slice(0, count).map((key, index) => {
    const fence = decodeFence(lines[count + index] ?? '');
    if (fence === undefined) throw unreadable(format);
    return { key, isDelete: fence.kind !== 'live', version: fence.version, origin: fence.origin };
  });
}

function unreadable(format: string): Error {
  return fail('E_FORMAT_NEWER', { what: 'an entry of the invalidation log', format, known: FORMAT });
}
