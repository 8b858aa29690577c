/** The invalidation log as its followers see it: a Redis Stream, read from a cursor of their own. */
import { announce, changesOf, COUNTER_KEY, fenceOf, LOG_KEY, type LogWriter } from './redis-announcement.ts';
import { mastersOf, type RedisClient, redisReason } from './redis-connection.ts';
import { fail } from '../core/errors.ts';
import type { InvalidationLog, LogEntry } from '../core/ports.ts';

/** Entries of one answer: each holds up to 1,000 keys. */
const MAX_ENTRIES = 64;

/**
 * @param redis a connection of its own, since reading blocks it; it fails fast, and waits for an answer longer than `read`
 *   is asked to wait. Closed by `close`.
 * @param maxKeys about so many are kept in the log
 */
export function createRedisInvalidationLog(
  redis: RedisClient,
  { maxKeys }: Pick<LogWriter, 'maxKeys'>,
): InvalidationLog {
  let isClosed = false;
  /** Without a counter there is no log yet, but perhaps entries of an older one: they are not to be followed. */
  let beginning = '0-0';
  /** A connection that does not answer is made anew: what it still brings belongs to nobody. */
  const guarded = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } catch (thrown) {
      if (redis.status === 'ready' && !isClosed) redis.disconnect(true);
      throw fail('E_UNREACHABLE', { what: 'The invalidation log in Redis', reason: redisReason(thrown) });
    }
  };
  return {
    async end() {
      const [servers, [epoch, keys]] = await guarded(
        Promise.all([serversOf(redis), redis.hmget(COUNTER_KEY, 'epoch', 'keys')]),
      );
      if (epoch != null) return { servers, epoch, sequence: Number(keys ?? 0) };
      const [newest] = await guarded(redis.xrevrange(LOG_KEY, '+', '-', 'COUNT', 1));
      beginning = newest?.[0] ?? '0-0';
      return { servers, epoch: '', sequence: 0 };
    },
    async read({ epoch, sequence }, waitMs) {
      const cursor = epoch === '' ? beginning : `${epoch}-${sequence}`;
      const answer: unknown = await guarded(
        waitMs > 0
          ? redis.xreadBuffer('COUNT', MAX_ENTRIES, 'BLOCK', Math.ceil(waitMs), 'STREAMS', LOG_KEY, cursor)
          : redis.xreadBuffer('COUNT', MAX_ENTRIES, 'STREAMS', LOG_KEY, cursor),
      );
      return entriesOf(answer);
    },
    async announce(changes) {
      const keys = changes.map(({ key }) => key);
      if (keys.length === 0) return;
      await guarded(announce(redis, { writer: '', maxKeys }, keys, changes.map(fenceOf)));
    },
    async close() {
      isClosed = true;
      redis.disconnect();
    },
  };
}

/** Run id and history of every master: after a restart, a failover or a rollback they are others. */
async function serversOf(redis: RedisClient): Promise<string> {
  const names = await Promise.all(
    mastersOf(redis).map(async (master) => {
      const [server, replication] = await Promise.all([master.info('server'), master.info('replication')]);
      return `${fieldOf(server, 'run_id')}/${fieldOf(replication, 'master_replid')}`;
    }),
  );
  return names.sort().join(' ');
}

function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
}

/** XREAD's answer, `[[log, [[id, [field, value, …]], …]]]` or, by RESP3, a map; null when nothing came. */
function entriesOf(answer: unknown): LogEntry[] {
  if (!Array.isArray(answer)) return [];
  const [first] = answer as unknown[];
  const entries: unknown = Array.isArray(first) ? first[1] : answer[1];
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((row: unknown) => {
    if (!Array.isArray(row) || !Buffer.isBuffer(row[0]) || !Array.isArray(row[1])) return [];
    return [entryOf(row[0].toString(), row[1])];
  });
}

function entryOf(id: string, fields: readonly unknown[]): LogEntry {
  const [epoch = '', sequence = '0'] = id.split('-');
  const field = (name: string): Buffer => {
    for (let at = 0; at < fields.length; at += 2) {
      const value = fields[at + 1];
      if (String(fields[at]) === name && Buffer.isBuffer(value)) return value;
    }
    return NOTHING;
  };
  const payload = field('k');
  return {
    epoch,
    sequence: Number(sequence),
    after: Number(sequence) - Number(field('n').toString()),
    writer: field('w').toString(),
    changes: () => changesOf(field('f').toString(), payload.toString()),
  };
}

const NOTHING = Buffer.alloc(0);
