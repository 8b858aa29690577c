/** An in-memory Redis tier for tests: the same decisions as the fence script, held to the same suite. */
import { comparePositions, compareVersioned, isSameStream } from '../core/entry-order.ts';
import type { MemoryStream } from './memory-invalidation-log.ts';
import type { LogWriter } from './redis-announcement.ts';
import {
  failedWrite,
  fenceAfter,
  isChange,
  livesOf,
  mismatchOf,
  refusedBy,
  unreadableFence,
} from './redis-fence-call.ts';
import { decodeFence, encodeFence, type Fence, fenceKeyOf } from '../core/fence.ts';
import type { Clock, RedisTier, TierResult, TierWrite } from '../core/ports.ts';

export interface MemoryRedisTier extends RedisTier {
  /** What is stored: values under their keys, fences under `fence:{key}`. */
  readonly cells: Map<string, MemoryCell>;
}

export interface MemoryCell {
  /** null: something that is no text, like another program's hash. */
  readonly text: string | null;
  /** When it expires, epoch milliseconds; 0: never. */
  readonly untilMs: number;
}

/**
 * @param clock tells when values and fences expire
 * @param log where writes are announced, and by whom; left out: nowhere
 * @param cells what another of them stores, as two instances have one Redis; left out: its own
 */
export function createMemoryRedisTier({
  clock,
  log,
  cells = new Map<string, MemoryCell>(),
}: {
  clock: Clock;
  log?: { readonly stream: MemoryStream; readonly by: LogWriter };
  cells?: Map<string, MemoryCell>;
}): MemoryRedisTier {
  function cellAt(key: string): MemoryCell | undefined {
    const cell = cells.get(key);
    if (cell === undefined || cell.untilMs === 0 || cell.untilMs > clock.now()) return cell;
    cells.delete(key);
    return undefined;
  }

  function put(key: string, text: string, lifeMs: number): void {
    cells.set(key, { text, untilMs: lifeMs === 0 ? 0 : clock.now() + lifeMs });
  }

  function writeOne(write: TierWrite): TierResult {
    const { key, op } = write;
    const value = cellAt(key);
    const old = cellAt(fenceKeyOf(key));
    if (old?.text === null) return failedWrite(key, WRONG_TYPE);
    const decision = old === undefined ? decideBare(write, value) : decideFenced(write, old.text, value);
    if ('kind' in decision) return decision;
    if (value?.text === null) return failedWrite(key, WRONG_TYPE);
    const [valueMs, fenceMs] = livesOf(write);
    put(fenceKeyOf(key), decision.fence, fenceMs);
    if (op === 'upsert') put(key, write.text, valueMs);
    else cells.delete(key);
    return { kind: op === 'upsert' ? 'set' : 'evicted', note: decision.note };
  }

  return {
    cells,
    fences: async (keys) => keys.map((key) => cellAt(fenceKeyOf(key))?.text ?? null),
    async write(writes, as) {
      const results = writes.map(writeOne);
      if (log !== undefined && results.some(isChange)) {
        log.stream.append(
          as === undefined ? log.by : { ...log.by, writer: as },
          writes.map(({ key }) => key),
          writes.map(fenceAfter),
        );
      }
      return results;
    },
    read: async (keys) =>
      keys.map((key) => {
        const value = cellAt(key);
        if (value === undefined || value.text === null) return null;
        const ttlMs = value.untilMs === 0 ? -1 : value.untilMs - clock.now();
        return { text: value.text, fence: cellAt(fenceKeyOf(key))?.text ?? null, ttlMs };
      }),
    async fillUnversioned(key, text, ttlMs) {
      if (cellAt(key) !== undefined || cellAt(fenceKeyOf(key)) !== undefined) return false;
      put(key, text, Math.max(1, Math.round(ttlMs)));
      return true;
    },
    async close() {},
  };
}

const WRONG_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value';

/** What to write, or why not. */
type Decision =
  | { readonly fence: string; readonly note: '' | 'unfencedValue' | 'unfencedInline' }
  | TierResult;

function hasText(value: MemoryCell | undefined): boolean {
  return value !== undefined && value.text !== null && value.text !== '';
}

function decideBare(write: TierWrite, value: MemoryCell | undefined): Decision {
  const { seen, version } = write;
  if (value?.text === null) return failedWrite(write.key, WRONG_TYPE);
  if (typeof seen === 'string' || (version === null && seen === undefined)) return { kind: 'changed' };
  if (!hasText(value)) return { fence: fenceAfter(write), note: '' };
  return { fence: fenceAfter(write), note: seen === undefined ? 'unfencedInline' : 'unfencedValue' };
}

function decideFenced(write: TierWrite, text: string, value: MemoryCell | undefined): Decision {
  const fence = decodeFence(text);
  if (fence === undefined) return unreadableFence(write.key, text);
  const { op, version, seen } = write;
  if (version === null) return decideUnversioned(write, text, fence);
  if (fence.version === null || fence.kind === 'observed') {
    if (seen !== undefined && seen !== text) return { kind: 'changed' };
    return { fence: fenceAfter(write), note: op === 'upsert' && seen === undefined ? 'unfencedInline' : '' };
  }
  const order = compareVersioned(
    { version, origin: write.origin },
    { version: fence.version, origin: fence.origin },
  );
  if (order === undefined) return mismatchOf(text, version);
  if (order < 0) return refusedBy(text, 'older');
  if (op === 'delete') {
    if (order === 0 && fence.kind === 'tombstone') return { kind: 'evicted', note: '' };
    return { fence: fenceAfter(write), note: '' };
  }
  if (order > 0) return { fence: fenceAfter(write), note: '' };
  if (fence.kind === 'tombstone') return refusedBy(text, 'tombstone');
  return decideEqual(write, text, fence, value);
}

/** A delete without a version: only over the fence that was seen, whose version it keeps. */
function decideUnversioned(write: TierWrite, text: string, fence: Fence): Decision {
  const order = comparePlaces(write, fence);
  if (order !== undefined && order < 0) return refusedBy(text, 'older');
  if (order === 0 && fence.kind !== 'live') return { kind: 'evicted', note: '' };
  if (write.seen !== text) return { kind: 'changed' };
  if (fence.kind === 'observed') return { fence: fenceAfter(write), note: '' };
  return { fence: encodeFence('tombstone', fence.version, write.origin), note: '' };
}

/** An upsert of the version that is there. */
function decideEqual(write: TierWrite, text: string, fence: Fence, value: MemoryCell | undefined): Decision {
  if (value?.text === null) return failedWrite(write.key, WRONG_TYPE);
  const order = comparePlaces(write, fence);
  if (order !== undefined && order < 0) return refusedBy(text, 'older');
  if (!hasText(value) || (order !== undefined && order > 0)) return { fence: fenceAfter(write), note: '' };
  return order === 0 || value?.text === write.text ? { kind: 'same', note: '' } : refusedBy(text, 'tie');
}

/** undefined: of different streams or epochs. */
function comparePlaces({ origin }: TierWrite, fence: Fence): number | undefined {
  return isSameStream(origin, fence.origin)
    ? comparePositions(origin.position, fence.origin.position)
    : undefined;
}
