import { decodeFence } from '../../src/core/fence.ts';
import { formatVersion } from '../../src/core/version.ts';
import type { Finding } from './finding.ts';
import type { FinalCell, FinalLocal, History, Truth } from './history.ts';
import { endsOf } from './invariant-final.ts';
import { isAtLeast, newestOf, orderOf } from './versions-order.ts';

/** What a key may be at the end: anything known that is at least as new as the newest message that did not die. */
interface Wanted {
  /** undefined: all messages of the key died. */
  readonly floor: Truth | undefined;
  readonly allowed: readonly Truth[];
}

/**
 * Invariant 3. A message that died may or may not have been written (its last reply may have been lost), so what it asked
 * for is allowed, not demanded.
 */
export function tiersAreNewest(history: History): Finding[] {
  const wanted = wantedOf(history);
  const cells = new Map(history.redis.map((cell) => [cell.key, cell]));
  return [
    ...history.redis.flatMap((cell) => findingsOf(redisProblem(cell, wanted.get(cell.key), history), cell)),
    ...history.local.flatMap((entry) => {
      const problem = localProblem(entry, cells.get(entry.key), history);
      return findingsOf(problem, entry);
    }),
  ];
}

function findingsOf(what: string, { key }: { readonly key: string }): Finding[] {
  return what === '' ? [] : [{ what, key }];
}

function wantedOf(history: History): ReadonlyMap<string, Wanted> {
  const ends = endsOf(history);
  const truths = Map.groupBy(history.truth, ({ key }) => key);
  const wanted = new Map<string, Wanted>();
  for (const [key, messages] of Map.groupBy(history.acknowledged, (one) => one.key)) {
    const alive = messages.filter((message) => !ends.isDead(message));
    const newest = newestOf(alive);
    const held = truths.get(key);
    const known: readonly Truth[] = held ?? messages;
    const floor = newest === undefined ? undefined : held === undefined ? newest : floorOf(newest, held);
    const allowed = floor === undefined ? known : known.filter((one) => isAtLeast(one, floor, known));
    wanted.set(key, { floor, allowed });
  }
  return wanted;
}

/** The truth that a message announced; the source may have held something newer when it was asked. */
function floorOf(message: Truth, held: readonly Truth[]): Truth | undefined {
  return held.find(({ version, op }) => version === message.version && op === message.op) ?? held.at(-1);
}

/** '' when the cell is as it must be. */
function redisProblem({ key, text, fence }: FinalCell, wanted: Wanted | undefined, history: History): string {
  if (wanted === undefined) return text === null ? '' : `Redis holds ${key}, of which no message told`;
  const { floor, allowed } = wanted;
  if (text === null && fence === null) {
    const isWrong = floor !== undefined && !history.mayExpire;
    return isWrong ? `Redis has neither value nor fence of ${key}; wanted ${told(floor)}` : '';
  }
  const stored = fence === null ? undefined : decodeFence(fence);
  if (stored === undefined)
    return `Redis has ${fence === null ? 'no fence' : 'an unreadable fence'} of ${key}`;
  const version = stored.version === null ? '' : formatVersion(stored.version);
  const isLive = stored.kind === 'live';
  if (isLive !== (text !== null) && !(history.mayExpire && isLive))
    return `Redis has ${text === null ? 'no value' : 'a value'} of ${key} beside a ${stored.kind} fence of ${version}`;
  const op = isLive ? 'upsert' : 'delete';
  const isVersionOf = (one: Truth): boolean =>
    one.version === version ||
    (op === 'delete' &&
      (one.version === '' ||
        version === '' ||
        (one.keepsVersion === true && (orderOf(version, one.version) ?? 0) <= 0)));
  const fits = (one: Truth): boolean =>
    one.op === op && isVersionOf(one) && (one.text === undefined || text === null || one.text === text);
  if (allowed.some(fits)) return '';
  const found = `Redis holds ${told({ key, version, op })}${text === null ? '' : ` with ${text.slice(0, 80)}`}`;
  return `${found}; wanted ${floor === undefined ? 'nothing newer' : told(floor)}`;
}

function localProblem(
  { instance, key, version, text }: FinalLocal,
  cell: FinalCell | undefined,
  history: History,
): string {
  if (cell === undefined) return '';
  const served = `${instance} serves ${version} of ${key}`;
  const fence = cell.fence === null ? undefined : decodeFence(cell.fence);
  const newest = fence?.version == null ? '' : formatVersion(fence.version);
  const isExcused = history.localTiers === 'withinTtl' && !hasWritten(history, instance, key, newest);
  if (newest === '') return isExcused ? '' : `${served}; Redis knows no version of it`;
  const order = orderOf(version, newest);
  if (order === 0 && fence?.kind === 'live') {
    return cell.text === null || text === cell.text ? '' : `${served} with another text than Redis has`;
  }
  if (order !== undefined && order > 0) {
    // What a rolled-back Redis forgot may have died when it was done again: then the copies it left live out their time.
    const isForgotten = history.localTiers === 'withinTtl' && history.repairs.length > 0;
    return isForgotten ? '' : `${served}, which is newer than ${newest} in Redis`;
  }
  return isExcused ? '' : `${served}; Redis has ${fence?.kind === 'live' ? '' : 'the deletion of '}${newest}`;
}

/**
 * Whether an execution of this instance ended with this version in Redis, so that its own local tier has no excuse. What a
 * rollback of Redis took back afterwards does not count: the instance may have read an older version since.
 */
function hasWritten({ audit, repairs }: History, instance: string, key: string, version: string): boolean {
  return audit.some(
    (record) =>
      record.worker === instance &&
      record.key === key &&
      record.version === version &&
      (record.state === 'redisCached' || record.state === 'evicted') &&
      !repairs.some(({ fromMs }) => fromMs >= record.endedMs),
  );
}

function told({ key, version, op }: Truth): string {
  return `${op === 'delete' ? 'the deletion' : 'version'} ${version === '' ? 'without a version' : version} of ${key}`;
}
