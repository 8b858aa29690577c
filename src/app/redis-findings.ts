/** What can be wrong with a Redis, seen in its INFO: for `doctor`, for a start, and for the watch of a running process. */
import { formatBytes } from '../config/durations.ts';
import { type Finding, found, ok } from './finding.ts';

/** What a Redis is for; `both` when one serves queue and cache. */
export type RedisRole = 'queue' | 'cache' | 'both';
export type RedisInfo = ReadonlyMap<string, string>;

/** Used memory from which on a Redis counts as nearly full. */
const NEARLY_FULL = 0.9;

/** Server role, memory, policy and persistence, as the role of this Redis wants them. */
export function redisFindings(check: string, role: RedisRole, info: RedisInfo): Finding[] {
  if (role === 'cache') return [...checkServer(check, info), checkCachePolicy(check, info)];
  return [...checkServer(check, info), ...checkPolicy(check, info), ...checkPersistence(check, info)];
}

/** What is wrong with a Redis that worked at the start; that it has no append-only file at all was said there. */
export function troublesOf(role: RedisRole, info: RedisInfo): Finding[] {
  const isTold = info.get('aof_enabled') !== '1';
  return [
    ...checkServer(role, info),
    ...(role === 'cache' ? [] : checkPolicy(role, info)),
    ...(role === 'cache' || isTold ? [] : checkPersistence(role, info)),
  ].filter(({ level }) => level !== 'ok');
}

function checkServer(check: string, info: RedisInfo): Finding[] {
  const findings: Finding[] = [];
  if (info.get('role') === 'slave') {
    findings.push(found(check, 'this is a replica: it takes no writes', 'Give the address of the primary.'));
  }
  const [used, max] = [Number(info.get('used_memory') ?? 0), Number(info.get('maxmemory') ?? 0)];
  const isKept = (info.get('maxmemory_policy') ?? 'noeviction') === 'noeviction';
  if (max > 0 && isKept && used > max * NEARLY_FULL) {
    const text = `${formatBytes(used)} of ${formatBytes(max)} (maxmemory) are in use`;
    findings.push(found(check, text, 'Raise maxmemory: a full Redis refuses writes, and ingest pauses.'));
  }
  return findings;
}

/** The queue's Redis must not evict: an evicted job is a lost chunk. */
function checkPolicy(check: string, info: RedisInfo): Finding[] {
  const policy = info.get('maxmemory_policy') ?? 'not told';
  if (policy === 'noeviction') return [ok(check, 'maxmemory-policy noeviction')];
  const next =
    'Set `maxmemory-policy noeviction` (CONFIG SET and redis.conf), or use another Redis for the queue.';
  return [found(check, `maxmemory-policy ${policy}: jobs could be evicted, and a start is refused`, next)];
}

/** The cache's may evict: a lost value is read again, a lost fence is handled (docs/versions.md). */
function checkCachePolicy(check: string, info: RedisInfo): Finding {
  return ok(check, `maxmemory-policy ${info.get('maxmemory_policy') ?? 'not told'}`);
}

function checkPersistence(check: string, info: RedisInfo): Finding[] {
  if (info.get('aof_enabled') !== '1') {
    const text =
      'no append-only file: after its loss messages are read again from Kafka, and posted ones are gone';
    return [found(check, text, 'Set `appendonly yes`.')];
  }
  const status = info.get('aof_last_write_status') ?? 'ok';
  if (status === 'ok') return [ok(check, 'append-only file on')];
  return [
    found(check, `the last write of the append-only file failed (${status})`, "Look at Redis' disk and log."),
  ];
}
