import { asError } from '../core/errors.ts';
import type { Clock, Coherence, LocalEntry, LocalTier, ReadLeases, RedisTier } from '../core/ports.ts';
import { createLeasedFill } from './leased-fill.ts';
import { createLoad, type Load } from './load.ts';
import { createNegatives } from './negatives.ts';
import {
  ABSENT,
  failedRead,
  localRecord,
  type ReadOutcome,
  type ReadRecord,
  type ReadService,
} from './read-record.ts';
import { createSourceFill, type Wanted } from './source-fill.ts';

export interface ReaderOptions {
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly leases: ReadLeases;
  readonly coherence: Coherence;
  readonly clock: Clock;
  /** Names this instance in leases and fences. */
  readonly instance: string;
  /** @defaultValue 3 s */
  readonly leaseMs?: number;
  /** How long a read waits for another instance's fetch, milliseconds. @defaultValue 30 s */
  readonly maxWaitMs?: number;
  /** How long the failure of a source is told to other readers instead of asking it again, milliseconds. @defaultValue 1 s */
  readonly failureMs?: number;
}

export interface Reader {
  /**
   * Local tier, then Redis, then the source; undefined: there is no such record.
   *
   * @throws `E_KEY_INVALID`, `E_REDIS_READ`, and what the source failed with
   */
  get(service: ReadService, id: string): Promise<ReadRecord | undefined>;
  /** One outcome per id, in order; what one of them fails with is no failure of the others. */
  getMany(service: ReadService, ids: readonly string[]): Promise<ReadOutcome[]>;
  /** Ends the fetches under way. */
  close(): void;
}

const LEASE_MS = 3_000;
const MAX_WAIT_MS = 30_000;
const FAILURE_MS = 1_000;

/** The read path of one instance: local → Redis → source. */
export function createReader(options: ReaderOptions): Reader {
  const { localTier, clock, coherence } = options;
  const closing = new AbortController();
  const negatives = createNegatives(coherence, clock);
  const fill = createLeasedFill({
    leaseMs: LEASE_MS,
    maxWaitMs: MAX_WAIT_MS,
    failureMs: FAILURE_MS,
    ...options,
    fill: createSourceFill({ ...options, signal: closing.signal }),
  });
  const load = createLoad({ ...options, negatives, fill });

  return {
    async get(service, id) {
      const key = service.keyOf(id);
      const entry = await localTier.get(key);
      const nowMs = clock.now();
      const isBlind = coherence.state() === 'blind';
      const known = entry === undefined ? undefined : fromLocal(service, entry, isBlind, nowMs);
      if (known !== undefined) {
        if (known.tier === 'stale') revalidate(load, service, { id, key });
        return known;
      }
      if (entry === undefined && negatives.has(key)) return undefined;
      const [outcome] = await Promise.all(load(service, [{ id, key }]));
      const settled =
        outcome === undefined ? ABSENT : settle(service, entry, outcome, { nowMs: clock.now(), isBlind });
      if (settled.kind === 'failed') throw settled.error;
      return settled.kind === 'found' ? settled.record : undefined;
    },

    async getMany(service, ids) {
      const { keys, refused } = keysOf(service, ids);
      const entries = await localTier.getMany(keys);
      const nowMs = clock.now();
      const isBlind = coherence.state() === 'blind';
      const missing: Missing[] = [];
      const outcomes = keys.map((key, index): ReadOutcome => {
        const entry = entries[index];
        const id = ids[index] ?? '';
        const record = entry === undefined ? undefined : fromLocal(service, entry, isBlind, nowMs);
        if (record !== undefined) {
          if (record.tier === 'stale') revalidate(load, service, { id, key });
          return { kind: 'found', record };
        }
        const isKnown = refused.has(index) || (entry === undefined && negatives.has(key));
        if (!isKnown) missing.push({ id, key, index, entry });
        return refused.get(index) ?? ABSENT;
      });
      if (missing.length === 0) return outcomes;
      const loaded = await Promise.all(load(service, missing));
      missing.forEach(({ entry, index }, place) => {
        outcomes[index] = settle(service, entry, loaded[place] ?? ABSENT, { nowMs: clock.now(), isBlind });
      });
      return outcomes;
    },

    close: () => closing.abort(),
  };
}

/** What of many the local tier could not answer. */
interface Missing extends Wanted {
  readonly index: number;
  readonly entry: LocalEntry | undefined;
}

/** The keys of ids, and by index what is wrong with those that have none (their key is empty). */
function keysOf(
  service: ReadService,
  ids: readonly string[],
): { readonly keys: string[]; readonly refused: ReadonlyMap<number, ReadOutcome> } {
  const refused = new Map<number, ReadOutcome>();
  const keys = ids.map((id, index) => {
    try {
      return service.keyOf(id);
    } catch (thrown) {
      refused.set(index, failedRead(asError(thrown)));
      return '';
    }
  });
  return { keys, refused };
}

/** How long ago an entry ceased to be fresh, milliseconds; negative: it is fresh. */
function overdueMs({ storedMs, ttlMs }: LocalEntry, nowMs: number): number {
  return nowMs - (storedMs + ttlMs);
}

/** What the local tier may answer at once; undefined: Redis has to be asked. */
function fromLocal(
  service: ReadService,
  entry: LocalEntry,
  isBlind: boolean,
  nowMs: number,
): ReadRecord | undefined {
  if (isBlind) return undefined;
  const overdue = overdueMs(entry, nowMs);
  if (overdue < 0) return localRecord(entry, 'local', nowMs);
  return overdue < service.read.staleWhileRevalidateMs ? localRecord(entry, 'stale', nowMs) : undefined;
}

/** In the background; one that fails is tried again by the next reader. */
function revalidate(load: Load, service: ReadService, wanted: { id: string; key: string }): void {
  void load(service, [wanted]);
}

/** After a failure the last value known answers, marked, as long as it may. What was read blind says so. */
function settle(
  service: ReadService,
  entry: LocalEntry | undefined,
  outcome: ReadOutcome,
  { nowMs, isBlind }: { readonly nowMs: number; readonly isBlind: boolean },
): ReadOutcome {
  if (outcome.kind === 'found' && isBlind) return { ...outcome, record: { ...outcome.record, isBlind } };
  if (outcome.kind !== 'failed' || entry === undefined) return outcome;
  const overdue = overdueMs(entry, nowMs);
  const mayAnswer = overdue < 0 || overdue < service.read.failSafeMs;
  return mayAnswer ? { kind: 'found', record: localRecord(entry, 'stale', nowMs, isBlind) } : outcome;
}
