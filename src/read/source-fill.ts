import type { Origin } from '../core/change.ts';
import { asError, fail } from '../core/errors.ts';
import { decodeFence } from '../core/fence.ts';
import { asFetched, checkFetched, versionOfFetched } from '../core/fetched-record.ts';
import type { Clock, Coherence, FetchOutcome, RedisTier, TierResult, TierWrite } from '../core/ports.ts';
import type { Version } from '../core/service.ts';
import { jitteredTtl } from '../core/ttl.ts';
import { formatVersion } from '../core/version.ts';
import {
  ABSENT,
  failedRead,
  localLife,
  type ReadOutcome,
  type ReadRecord,
  type ReadService,
  redisRecord,
} from './read-record.ts';

export interface SourceFillOptions {
  readonly redisTier: RedisTier;
  readonly coherence: Pick<Coherence, 'fill'>;
  readonly clock: Clock;
  /** Names this instance in the fences that its fills leave behind. */
  readonly instance: string;
  /** Ends the fetches under way. */
  readonly signal: AbortSignal;
}

/** A record to be read, by id and key. */
export interface Wanted {
  readonly id: string;
  readonly key: string;
}

/** A read under way: with the generation that its key had when it began. */
export interface Reading extends Wanted {
  readonly generation: number;
}

/** Reads records from their source and offers them to Redis and the local tier; one outcome per wanted record, in order. */
export type SourceFill = (service: ReadService, wanted: readonly Reading[]) => Promise<ReadOutcome[]>;

/** Times a record is read again because its fence moved meanwhile; after that it is served and kept nowhere. */
const MAX_ROUNDS = 3;
/** How long a record without a version stays in Redis at most, milliseconds. */
const UNVERSIONED_MS = 30_000;

/** A fetched record on its way to Redis. */
interface Draft {
  readonly text: string;
  readonly version: Version | undefined;
  readonly origin: Origin;
  /** The version is the fence's: nobody knows the record's own. */
  readonly isRemembered: boolean;
}

export function createSourceFill(options: SourceFillOptions): SourceFill {
  const { redisTier, coherence, clock, signal } = options;
  let position = 0;

  async function round(
    service: ReadService,
    wanted: readonly Reading[],
    rounds: number,
  ): Promise<ReadOutcome[]> {
    const keys = wanted.map(({ key }) => key);
    const startedMs = clock.now();
    // Another instance may have filled them since this one looked; the fences are looked at *before* the source is asked.
    const [stored, fences] = await Promise.all([redisTier.read(keys), redisTier.fences(keys)]);
    const outcomes = wanted.map(({ key }, index): ReadOutcome | undefined => {
      const found = stored[index];
      if (found !== undefined && found !== null) {
        return { kind: 'found', record: redisRecord(service, key, found, clock.now(), clock.random()) };
      }
      // Without a version of its own no record can be told to be newer than the delete.
      return service.version.from !== 'record' && isDeleted(fences[index]) ? ABSENT : undefined;
    });
    const open = wanted.flatMap((want, index) =>
      outcomes[index] === undefined ? [{ ...want, index, seen: fences[index] ?? null }] : [],
    );
    if (open.length > 0) {
      const answers = await service.source.fetchMany(
        open.map(({ id }) => ({ id })),
        signal,
      );
      const ended = await Promise.all(
        open.map((want, place) => offer(service, want, answers[place], { startedMs, rounds })),
      );
      open.forEach(({ index }, place) => (outcomes[index] = ended[place]));
    }
    return outcomes.map((outcome) => outcome ?? ABSENT);
  }

  async function offer(
    service: ReadService,
    want: Reading & { readonly seen: string | null },
    answer: FetchOutcome | undefined,
    at: { readonly startedMs: number; readonly rounds: number },
  ): Promise<ReadOutcome> {
    if (answer === undefined)
      return failedRead(fail('E_OUTCOMES_MISSING', { effect: `source of ${service.id}`, got: 0, runs: 1 }));
    if (answer.kind === 'failed') return failedRead(answer.error);
    if (answer.kind === 'absent') return ABSENT;
    try {
      const draft = await draftOf(service, want, answer);
      if (draft.version === undefined) return await offerUnversioned(service, want, draft, at.startedMs);
      const write = writeOf(service, want, draft, draft.version);
      const [result] = await redisTier.write([write]);
      return await judge(service, want, { draft, write, result, ...at });
    } catch (thrown) {
      return failedRead(asFetched(asError(thrown), service, want.id));
    }
  }

  async function draftOf(
    service: ReadService,
    { id, seen }: Wanted & { readonly seen: string | null },
    answer: FetchOutcome & { kind: 'record' },
  ): Promise<Draft> {
    const checked = await checkFetched(service, id, answer.text);
    position += 1;
    const own: Origin = { stream: `read:${options.instance}`, epoch: 0, position: String(position) };
    if (service.version.from === 'record') {
      const version = versionOfFetched(service, checked, answer.version, clock.now());
      if (version !== undefined) return { text: checked.text, version, origin: own, isRemembered: false };
      throw fail('E_VERSION_MISSING', { where: `the record's field ${service.version.path.join('/')}` });
    }
    const fence = seen === null ? undefined : decodeFence(seen);
    const version = fence?.version ?? undefined;
    return { text: checked.text, version, origin: fence?.origin ?? own, isRemembered: true };
  }

  function writeOf(
    { ttlMs, ttlJitter, fenceTtlMs }: ReadService,
    { key, seen }: Wanted & { readonly seen: string | null },
    { text, origin }: Draft,
    version: Version,
  ): TierWrite {
    const lifeMs = jitteredTtl({ ttlMs, ttlJitter }, clock.random());
    return { key, op: 'upsert', text, version, origin, ttlMs: lifeMs, fenceTtlMs, seen };
  }

  async function offerUnversioned(
    service: ReadService,
    want: Reading & { readonly seen: string | null },
    draft: Draft,
    startedMs: number,
  ): Promise<ReadOutcome> {
    const lifeMs = service.ttlMs > 0 ? Math.min(service.ttlMs, UNVERSIONED_MS) : UNVERSIONED_MS;
    const record: ReadRecord = {
      text: draft.text,
      version: undefined,
      tier: 'source',
      ageMs: clock.now() - startedMs,
      isBlind: false,
      entry: undefined,
    };
    const served: ReadOutcome = { kind: 'found', record };
    if (want.seen !== null || (await redisTier.fillUnversioned(want.key, draft.text, lifeMs))) return served;
    return (await again(service, want)) ?? served;
  }

  /** What Redis has now; undefined: no value. */
  async function again(service: ReadService, { key }: Wanted): Promise<ReadOutcome | undefined> {
    const [[stored], [fence]] = await Promise.all([redisTier.read([key]), redisTier.fences([key])]);
    if (stored !== undefined && stored !== null)
      return { kind: 'found', record: redisRecord(service, key, stored, clock.now(), clock.random()) };
    return isDeleted(fence) ? ABSENT : undefined;
  }

  async function judge(
    service: ReadService,
    want: Reading & { readonly seen: string | null },
    offered: {
      readonly draft: Draft;
      readonly write: TierWrite;
      readonly result: TierResult | undefined;
      readonly startedMs: number;
      readonly rounds: number;
    },
  ): Promise<ReadOutcome> {
    const { draft, write, result, startedMs, rounds } = offered;
    const { version } = draft;
    const record: ReadRecord = {
      text: draft.text,
      version: draft.isRemembered ? undefined : version,
      tier: 'source',
      ageMs: clock.now() - startedMs,
      isBlind: false,
      entry: undefined,
    };
    switch (result?.kind) {
      case 'set':
      case 'same': {
        // The same fence may stand before other bytes, when the version is not the record's own.
        if (result.kind === 'same' && draft.isRemembered) break;
        if (version === undefined) break;
        const entry = {
          key: want.key,
          text: draft.text,
          version,
          origin: draft.origin,
          storedMs: startedMs,
          ttlMs: localLife(service, write.ttlMs, clock.random()),
          keepMs: service.read.keepMs,
        };
        // At once: this instance's own announcement is passed over as soon as Redis has answered.
        await coherence.fill(entry, want.generation);
        return { kind: 'found', record: { ...record, version, entry } };
      }
      case 'changed':
        if (rounds < MAX_ROUNDS) return (await round(service, [want], rounds + 1))[0] ?? ABSENT;
        break;
      case 'refused': {
        const newer = await again(service, want);
        if (newer !== undefined) return newer;
        if (result.reason === 'tombstone') return ABSENT;
        const source = version === undefined ? '' : formatVersion(version);
        return failedRead(fail('E_SOURCE_BEHIND', { service: service.id, source, message: result.version }));
      }
      default:
        break;
    }
    // Redis took nothing: what was just read is served, and kept nowhere.
    return (await again(service, want)) ?? { kind: 'found', record };
  }

  return async (service, wanted) => {
    try {
      return await round(service, wanted, 1);
    } catch (thrown) {
      const error = asError(thrown);
      return wanted.map(() => failedRead(error));
    }
  };
}

function isDeleted(fence: string | null | undefined): boolean {
  return typeof fence === 'string' && decodeFence(fence)?.kind === 'tombstone';
}
