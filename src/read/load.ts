import { asError } from '../core/errors.ts';
import type { Clock, Coherence, Fill, LocalTier, RedisTier } from '../core/ports.ts';
import type { Negatives } from './negatives.ts';
import { ABSENT, failedRead, type ReadOutcome, type ReadService, redisRecord } from './read-record.ts';
import type { Reading, SourceFill, Wanted } from './source-fill.ts';

export interface LoadOptions {
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly coherence: Coherence;
  readonly negatives: Negatives;
  readonly fill: SourceFill;
  readonly clock: Clock;
}

/** Reads what the local tier does not have; one promise per record, none of which rejects. */
export type Load = (service: ReadService, wanted: readonly Wanted[]) => Promise<ReadOutcome>[];

/** A read under way. */
interface Flight {
  readonly generation: number;
  readonly beganMs: number;
  readonly outcome: Promise<ReadOutcome>;
}

/** How long a read is shared while changes may pass unheard, as after the process was stopped, milliseconds. */
const BLIND_SHARE_MS = 1_000;

/**
 * Redis, then the source: once per key at a time. A read that is under way is shared only while its key did not change
 * since it began: whoever asks after a change is not given what was read before it.
 */
export function createLoad(options: LoadOptions): Load {
  const { coherence, clock } = options;
  const flights = new Map<string, Flight>();

  function depart(service: ReadService, wanted: readonly Wanted[]): void {
    const beganMs = clock.now();
    const readings = wanted.map((want) => ({ ...want, generation: coherence.generationOf(want.key) }));
    const landing = load(options, service, readings);
    readings.forEach(({ key, generation }, index) => {
      const outcome = landing.then((outcomes) => outcomes[index] ?? ABSENT);
      const flight: Flight = { generation, beganMs, outcome };
      flights.set(key, flight);
      void outcome.finally(() => {
        if (flights.get(key) === flight) flights.delete(key);
      });
    });
  }

  const isShared = ({ key }: Wanted): boolean => {
    const flight = flights.get(key);
    if (flight === undefined || !coherence.isCurrent(key, flight.generation)) return false;
    return coherence.state() === 'fresh' || clock.now() - flight.beganMs <= BLIND_SHARE_MS;
  };

  return (service, wanted) => {
    const fresh = new Map(wanted.flatMap((want) => (isShared(want) ? [] : [[want.key, want]])));
    if (fresh.size > 0) depart(service, [...fresh.values()]);
    return wanted.map(({ key }) => flights.get(key)?.outcome ?? Promise.resolve(ABSENT));
  };
}

/** Never rejects. */
async function load(
  options: LoadOptions,
  service: ReadService,
  readings: readonly Reading[],
): Promise<ReadOutcome[]> {
  const { coherence, localTier, negatives } = options;
  const outcomes = await fromRedisOrSource(options, service, readings).catch((thrown: unknown) => {
    const error = asError(thrown);
    return readings.map(() => failedRead(error));
  });
  const fills: Fill[] = [];
  readings.forEach(({ key, generation }, index) => {
    const outcome = outcomes[index];
    if (outcome?.kind === 'found') {
      const { entry, tier } = outcome.record;
      // What came from the source is there already.
      if (entry !== undefined && tier !== 'source') fills.push({ entry, generation });
    } else if (outcome?.kind === 'absent' && coherence.isCurrent(key, generation)) {
      // An entry kept for stale answers must not outlive the news that its record is gone.
      if (localTier.peek(key) !== undefined) localTier.evict(key, null);
      negatives.add(key, service.read.negativeTtlMs, coherence.generationOf(key));
    }
  });
  await coherence.fillMany(fills);
  return outcomes;
}

async function fromRedisOrSource(
  { redisTier, clock, fill }: LoadOptions,
  service: ReadService,
  wanted: readonly Reading[],
): Promise<ReadOutcome[]> {
  const stored = await redisTier.read(wanted.map(({ key }) => key));
  const outcomes = wanted.map(({ key }, index): ReadOutcome | undefined => {
    const found = stored[index];
    return found === undefined || found === null
      ? undefined
      : { kind: 'found', record: redisRecord(service, key, found, clock.now(), clock.random()) };
  });
  if (!service.read.fromSource) return outcomes.map((outcome) => outcome ?? ABSENT);
  const missing = wanted.filter((_, index) => outcomes[index] === undefined);
  if (missing.length === 0) return outcomes.map((outcome) => outcome ?? ABSENT);
  const filled = await fill(service, missing);
  let at = 0;
  return outcomes.map((outcome) => outcome ?? filled[at++] ?? ABSENT);
}
