import type { Chart } from '../../machines/compile.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { type Forecast, letterId } from '../core/dead-letter.ts';
import type { Clock, DeadLetter, Log, RedisTierView, StoredLetter } from '../core/ports.ts';
import { Run } from '../core/run.ts';
import type { Service, TopicMapping } from '../core/service.ts';
import { Trail } from '../core/trail.ts';
import { chunkOfLetters } from '../dead-letters/plan.ts';
import { versionText } from '../pipeline/audit-entry.ts';
import { createEffects } from '../pipeline/effects.ts';
import { createExecutor, type Executor } from '../pipeline/executor.ts';
import { createParse } from '../pipeline/parse.ts';
import { runsOfChunk } from '../pipeline/runs-of-chunk.ts';
import { createOverlayRedisTier } from './overlay-redis-tier.ts';

/** How long a rehearsal waits for a source that is at its limit, milliseconds in all. */
const PATIENCE_MS = 30_000;
/** Letters whose message may end the process that walks it. */
const KILLER = 'E_WORKER_KILLED';

export interface RehearsalSettings {
  readonly chart: Chart;
  readonly machine: string;
  readonly services: ReadonlyMap<string, Service>;
  readonly mappingOf: (stream: string) => TopicMapping;
  readonly limits: { readonly maxMessageBytes: number; readonly maxDepth: number };
  /** Nothing is written: what a redrive would write stays in memory. */
  readonly redisTier: RedisTierView;
  readonly effectTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Walks the chunks of a redrive, one after the other, through the real chart and effects over tiers that keep nothing. */
export interface Rehearse {
  (letters: readonly StoredLetter[]): Promise<Forecast[]>;
  close(): Promise<void>;
}

/**
 * A rehearsal: what it walks first, what comes later meets. A failure that may pass ends a run at once, since nobody waits
 * for a dry run; in earnest it is retried first.
 */
export function createRehearsal(settings: RehearsalSettings): Rehearse {
  const { chart, machine, clock, log, effectTimeoutMs } = settings;
  const services = new Map(
    [...settings.services].map(([id, service]) => [id, { ...service, retry: onceOnly(service) }]),
  );
  const parse = createParse({ services, mappingOf: settings.mappingOf, limits: settings.limits, clock });
  const redisTier = createOverlayRedisTier(settings.redisTier, clock);
  const localTier = createKeyvLocalTier({ maxEntries: 10_000, maxBytes: 64 * 1024 ** 2, clock });
  const executor = createExecutor({
    chart,
    effects: createEffects({ parse, localTier, redisTier, clock }),
    clock,
    log,
    maxGroupRuns: 500,
    maxGroupBytes: 4 * 1024 ** 2,
    effectTimeoutMs,
    defaultRetry: {
      attempts: 1,
      backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 },
      horizonMs: 3_600_000,
    },
  });
  let patienceMs = PATIENCE_MS;

  const rehearse = async (stored: readonly StoredLetter[]): Promise<Forecast[]> => {
    const [killers, others] = [
      stored.filter(({ letter }) => letter.error.code === KILLER),
      stored.filter(({ letter }) => letter.error.code !== KILLER),
    ];
    const forecasts = killers.map(({ letter }) => forecastOf(letter, undefined));
    if (others.length === 0) return forecasts;
    const { data } = chunkOfLetters(others, machine);
    const { runs } = await runsOfChunk(data, chart, parse, clock.now());
    const walked = new Map<string, Run>();
    const ended = await walk(executor, runs, clock, patienceMs);
    patienceMs -= ended.waitedMs;
    for (const run of ended.runs) walked.set(run.id, run);
    for (const { letter } of others) forecasts.push(forecastOf(letter, walked.get(letter.message)));
    return forecasts;
  };
  return Object.assign(rehearse, { close: () => localTier.close() });
}

function onceOnly({ retry }: Service): Service['retry'] {
  return { ...retry, attempts: 1 };
}

/** Goes on with runs that wait for a source at its limit, as long as there is patience; the others have ended. */
async function walk(
  executor: Executor,
  runs: Run[],
  clock: Clock,
  patienceMs: number,
): Promise<{ runs: readonly Run[]; waitedMs: number }> {
  const startedMs = clock.now();
  const ended: Run[] = [];
  let walking = runs;
  let waitedMs = 0;
  for (;;) {
    for (const run of walking) run.token = 'rehearsal';
    await executor.execute(walking, new AbortController().signal);
    const waiting = walking.filter((run) => run.dueMs > 0);
    ended.push(...walking.filter((run) => run.dueMs === 0));
    const pauseMs = Math.max(0, Math.min(...waiting.map(({ dueMs }) => dueMs)) - clock.now());
    if (waiting.length === 0 || waitedMs + pauseMs > patienceMs)
      return { runs: [...ended, ...waiting], waitedMs };
    await clock.sleep(pauseMs);
    waitedMs = clock.now() - startedMs;
    walking = waiting.map(again);
  }
}

/** The run as another execution would take it up. */
function again({ message, index, part, state, change, attempts, sinceMs }: Run): Run {
  const run = new Run(message, index, part, state, Trail.root(), attempts, sinceMs);
  run.change = change;
  return run;
}

function forecastOf(letter: DeadLetter, run: Run | undefined): Forecast {
  const isDead = run?.state === 'rejected' || run?.state === 'gaveUp';
  const waits = run !== undefined && run.dueMs > 0;
  return {
    message: letter.message,
    letter: letterId(letter),
    service: run?.change?.service.id ?? letter.service,
    recordId: run?.change?.id ?? letter.recordId,
    key: run?.change?.key ?? letter.cacheKey,
    redrive: letter.redrive + 1,
    state: run === undefined ? 'untried' : waits ? 'waits' : run.state,
    supersededBy: run?.supersededBy ?? '',
    version: run === undefined ? '' : versionText(run),
    code: isDead || waits ? (run.error?.code ?? '') : '',
  };
}
