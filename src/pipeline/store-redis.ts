import { fail } from '../core/errors.ts';
import type { Clock, LocalEntry, LocalTier, RedisTier, TierResult, TierWrite } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { Version } from '../core/service.ts';
import { jitteredTtl } from '../core/ttl.ts';
import { parseVersion } from '../core/version.ts';
import type { Effect, EffectOutcome } from './effect.ts';
import { localEntryOf } from './store-local.ts';

export interface TierEffectOptions {
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly clock: Clock;
}

/**
 * `storeRedis`: offers each record to the fence. What the fence takes becomes readable in the local tier; what it
 * refuses has been overtaken, and its provisional local entry goes.
 */
export function createStoreRedis(options: TierEffectOptions): Effect {
  const { localTier, redisTier, clock } = options;
  return async (runs) => {
    const results = await redisTier.write(runs.map((run) => writeOf(run, clock)));
    const token = runs[0]?.token ?? '';
    const storedMs = clock.now();
    const taken: LocalEntry[] = [];
    const outcomes = runs.map((run, index): EffectOutcome => {
      const result = results[index] ?? missing(run);
      const key = run.change?.key ?? '';
      switch (result.kind) {
        case 'set':
        case 'same':
          run.note = result.note;
          taken.push(run.localEntry ?? localEntryOf(run, storedMs));
          return 'storedInRedis';
        case 'refused':
          localTier.discard(key, token, {
            version: result.reason === 'tie' ? null : parseVersion(result.version),
          });
          return overtaken(run, result);
        case 'failed':
          // Redis may have it all the same, and this instance passes its own announcement over: what was readable goes.
          localTier.discard(key, token, { version: null });
          return failureOf(run, result);
        default:
          localTier.discard(key, token);
          return failureOf(run, result);
      }
    });
    localTier.promote(taken, token);
    return outcomes;
  };
}

/** `evict`: leaves a tombstone in Redis and drops the local entry. */
export function createEvict(options: TierEffectOptions): Effect {
  const { localTier, redisTier, clock } = options;
  return async (runs) => {
    const results = await redisTier.write(runs.map((run) => writeOf(run, clock)));
    return runs.map((run, index) => {
      const result = results[index] ?? missing(run);
      if (result.kind === 'evicted') {
        run.note = result.note;
        localTier.evict(run.change?.key ?? '', evictedVersion(run));
        return 'evicted';
      }
      if (result.kind === 'failed') localTier.discard(run.change?.key ?? '', run.token, { version: null });
      return result.kind === 'refused' ? overtaken(run, result) : failureOf(run, result);
    });
  };
}

/** The version a delete claims: its own; none for a record found absent, whatever the message announced. */
function evictedVersion(run: Run): Version | null {
  return run.change?.op === 'delete' ? (run.change.version ?? null) : null;
}

function writeOf(run: Run, clock: Clock): TierWrite {
  const { change, record } = run;
  if (change === undefined) throw fail('E_UNEXPECTED', { what: `a write without a change (${run.id})` });
  const { service, key } = change;
  const common = { key, origin: run.message.origin, fenceTtlMs: service.fenceTtlMs, seen: run.seenFence };
  if (record === undefined)
    return { ...common, op: 'delete', text: '', version: evictedVersion(run), ttlMs: 0 };
  return {
    ...common,
    op: 'upsert',
    text: record.text,
    version: record.version,
    ttlMs: jitteredTtl(service, clock.random()),
  };
}

function overtaken(run: Run, result: TierResult & { kind: 'refused' }): EffectOutcome {
  run.supersededBy = result.by;
  run.note = result.reason === 'older' ? '' : result.reason;
  return 'refused';
}

function failureOf(run: Run, result: TierResult): EffectOutcome {
  const key = run.change?.key ?? '';
  switch (result.kind) {
    case 'changed':
      return fail('E_FENCE_CHANGED', { key });
    case 'kindMismatch':
      return fail('E_VERSION_RULE_CHANGED', {
        key,
        stored: result.stored,
        kind: run.record === undefined ? run.change?.service.version.kind : run.record.version.kind,
      });
    case 'failed':
      return result.error;
    default:
      return fail('E_UNEXPECTED', { what: `the Redis tier answered ${result.kind} for ${key}` });
  }
}

function missing(run: Run): TierResult {
  return {
    kind: 'failed',
    error: fail('E_OUTCOMES_MISSING', { effect: `Redis tier for ${run.id}`, got: 0, runs: 1 }),
  };
}
