import { asError, fail } from '../core/errors.ts';
import { asFetched, checkFetched, type CheckedRecord, versionOfFetched } from '../core/fetched-record.ts';
import type { Clock, FetchOutcome, RedisTier } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { Change, Service, Version } from '../core/service.ts';
import { compareVersions, formatVersion, refuseAhead, versionFromTimestamp } from '../core/version.ts';
import type { Effect, EffectOutcome } from './effect.ts';

/**
 * `fetch`: gives every run the fresh record of its source. The runs of one call are of one service and distinct keys.
 *
 * Inline records and versioned deletes need nothing from outside. For all others the fence is looked at *before* the
 * source is asked, so that `storeRedis` and `evict` can tell whether the key moved meanwhile (docs/versions.md).
 */
export function createFetch(options: { readonly redisTier: RedisTier; readonly clock: Clock }): Effect {
  return (runs, signal) => {
    const first = runs[0]?.change;
    if (first === undefined)
      return runs.map(() => fail('E_UNEXPECTED', { what: 'a fetch without a change' }));
    const needsLook = runs.filter((run) => run.change !== undefined && isLookedAt(run.change));
    if (needsLook.length === 0) return runs.map(takeFromMessage);
    return fetchWithLook(options, first.service, runs, needsLook, signal);
  };
}

function isLookedAt(change: Change): boolean {
  return change.op === 'delete' ? change.version === undefined : !change.service.inline;
}

/** What the message itself brings: a delete, or an inline record. */
function takeFromMessage(run: Run): EffectOutcome {
  const { change } = run;
  if (change?.op === 'delete') return 'deleted';
  if (change?.record === undefined || change.version === undefined) {
    return fail('E_UNEXPECTED', { what: `an inline change without record or version (${run.id})` });
  }
  run.record = { text: change.record, version: change.version };
  return 'fetched';
}

async function fetchWithLook(
  { redisTier, clock }: { readonly redisTier: RedisTier; readonly clock: Clock },
  service: Service,
  runs: readonly Run[],
  needsLook: readonly Run[],
  signal: AbortSignal,
): Promise<EffectOutcome[]> {
  const fences = await redisTier.fences(needsLook.map((run) => run.change?.key ?? ''));
  needsLook.forEach((run, index) => {
    run.seenFence = fences[index] ?? null;
  });
  const asked = runs.filter((run) => run.change?.op === 'upsert' && !service.inline);
  const answers = new Map<Run, FetchOutcome>();
  if (asked.length > 0) {
    const outcomes = await service.source.fetchMany(
      asked.map((run) => ({ id: run.change?.id ?? '' })),
      signal,
    );
    if (outcomes.length !== asked.length) {
      throw fail('E_OUTCOMES_MISSING', {
        effect: `source of ${service.id}`,
        got: outcomes.length,
        runs: asked.length,
      });
    }
    asked.forEach((run, index) => {
      const outcome = outcomes[index];
      if (outcome !== undefined) answers.set(run, outcome);
    });
  }
  return Promise.all(
    runs.map(async (run) => {
      const answer = answers.get(run);
      return answer === undefined ? takeFromMessage(run) : takeFromSource(run, service, answer, clock.now());
    }),
  );
}

async function takeFromSource(
  run: Run,
  service: Service,
  answer: FetchOutcome,
  nowMs: number,
): Promise<EffectOutcome> {
  if (answer.kind === 'failed') return answer.error;
  if (answer.kind === 'absent') return 'absent';
  const id = run.change?.id ?? '';
  try {
    const checked = await checkFetched(service, id, answer.text);
    const version = versionOf(run, service, answer, checked, nowMs);
    const announced = run.change?.version;
    if (
      announced !== undefined &&
      announced.kind === version.kind &&
      compareVersions(version, announced) < 0
    ) {
      return fail('E_SOURCE_BEHIND', {
        service: service.id,
        source: formatVersion(version),
        message: formatVersion(announced),
      });
    }
    run.record = { text: checked.text, version };
    return 'fetched';
  } catch (thrown) {
    return asFetched(asError(thrown), service, id);
  }
}

function versionOf(
  run: Run,
  service: Service,
  answer: FetchOutcome & { kind: 'record' },
  checked: CheckedRecord,
  nowMs: number,
): Version {
  const { version: rule } = service;
  if (rule.from !== 'record') {
    if (run.change?.version !== undefined) return run.change.version;
    throw fail('E_VERSION_MISSING', { where: `${rule.from} ${rule.path.join('/')}` });
  }
  const own = versionOfFetched(service, checked, answer.version, nowMs);
  if (own !== undefined) return own;
  const { timestampMs } = run.message;
  const stamped = rule.missing === 'timestamp' ? versionFromTimestamp(timestampMs) : undefined;
  if (stamped !== undefined) {
    refuseAhead(rule, timestampMs, timestampMs, nowMs);
    return stamped;
  }
  throw fail('E_VERSION_MISSING', { where: `the record's field ${rule.path.join('/')}` });
}
