/** Looking at the fence of a record, and taking it away: for the commands and the API. */
import { ulid } from 'ulid';
import { announceReset } from '../adapters/redis-announcement.ts';
import { createFenceDesk } from '../adapters/redis-fence-desk.ts';
import { type RedisClient, redisReason } from '../adapters/redis-connection.ts';
import { appendToOutbox } from '../adapters/redis-outbox.ts';
import { operatorEntry } from '../audit/operator-entry.ts';
import { messageId } from '../core/change.ts';
import { fail } from '../core/errors.ts';
import { decodeFence, FENCE_FORMAT } from '../core/fence.ts';
import type { VersionKind } from '../core/service.ts';
import { formatVersion } from '../core/version.ts';

/** A record by the names people use, with what its service says of it. */
export interface FencedRecord {
  readonly service: string;
  readonly id: string;
  readonly key: string;
  /** Of the versions that its service now reads. */
  readonly kind: VersionKind;
}

/** A fence as people and programs read it. */
export interface FenceView extends FencedRecord {
  /** As it is stored; null: there is none. */
  readonly fence: string | null;
  /** `live`, `tombstone`, `observed`; `none`; `unreadable`: of another format, or not ours. */
  readonly state: string;
  /** `kind:digits`; '' when it has none. */
  readonly version: string;
  /** The message that wrote it; ''. */
  readonly message: string;
  readonly epoch: number;
  /** When it expires, ISO; '' for never. */
  readonly expires: string;
  /** Bytes of the value; 0: none. */
  readonly valueBytes: number;
  /** Whether messages of the service as it is configured can be compared with it. */
  readonly isComparable: boolean;
}

export interface FenceBooks {
  /** The Redis of the cache, where fences are. */
  readonly cache: RedisClient;
  /** The Redis of the queue, where the audit outbox is. */
  readonly queue: RedisClient;
  /** Name of the audit outbox. */
  readonly outbox: string;
  /** Who does it, without spaces. */
  readonly by: string;
  readonly nowMs: () => number;
}

/** @throws `E_REDIS_READ` */
export async function showFence(
  record: FencedRecord,
  { cache, nowMs }: Pick<FenceBooks, 'cache' | 'nowMs'>,
): Promise<FenceView> {
  const { fence, fenceTtlMs, valueBytes } = await createFenceDesk(cache).look(record.key);
  const read = fence === null ? undefined : decodeFence(fence);
  return {
    ...record,
    fence,
    state: fence === null ? 'none' : (read?.kind ?? 'unreadable'),
    version: read?.version == null ? '' : formatVersion(read.version),
    message: read === undefined ? '' : messageId(read.origin),
    epoch: read?.origin.epoch ?? 0,
    expires: fenceTtlMs > 0 ? new Date(nowMs() + fenceTtlMs).toISOString() : '',
    valueBytes,
    isComparable:
      fence === null || (read !== undefined && (read.version === null || read.version.kind === record.kind)),
  };
}

/**
 * Takes the fence away, so that the next write of the record decides anew, whatever its version. The value stays, and is
 * served as before. Told in the audit first: what is on record may not have happened, but nothing happens unrecorded.
 *
 * @returns the fence as it was
 * @throws `E_NOT_FOUND` when there is none, `E_FENCE_IN_USE` when it was written meanwhile, `E_FORMAT_NEWER`,
 *   `E_REDIS_READ`, `E_UNREACHABLE`
 */
export async function resetFence(
  record: FencedRecord,
  reason: string,
  books: FenceBooks,
): Promise<FenceView> {
  const seen = await showFence(record, books);
  const { fence, key } = seen;
  if (fence === null) throw fail('E_NOT_FOUND', { what: `A fence of ${key}` });
  const format = /^(\d{1,4})\|/.exec(fence)?.[1];
  if (Number(format) > FENCE_FORMAT)
    throw fail('E_FORMAT_NEWER', { what: `fence of ${key}`, format, known: FENCE_FORMAT });
  const entry = operatorEntry({
    id: ulid(),
    act: 'fenceReset',
    by: books.by,
    service: record.service,
    recordId: record.id,
    key,
    version: seen.version,
    note: `${fence} reset: ${reason}`,
    atMs: books.nowMs(),
  });
  await appendToOutbox(books.queue, books.outbox, JSON.stringify(entry));
  if (!(await createFenceDesk(books.cache).remove(key, fence))) throw fail('E_FENCE_IN_USE', { key });
  await announceReset(books.cache, key).catch((thrown: unknown) => {
    throw fail('E_UNREACHABLE', { what: 'The invalidation log in Redis', reason: redisReason(thrown) });
  });
  return seen;
}
