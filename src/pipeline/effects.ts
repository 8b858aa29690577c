import type { Clock, LocalTier, RedisTier } from '../core/ports.ts';
import { Run } from '../core/run.ts';
import type { Effect, EffectOutcome, Effects } from './effect.ts';
import { createFetch } from './fetch.ts';
import type { Parse, ParseResult } from './parse.ts';
import { createStoreLocal } from './store-local.ts';
import { createEvict, createStoreRedis } from './store-redis.ts';

/** The effects of the change-message chart, by the names its states wait for. */
export function createEffects(options: {
  readonly parse: Parse;
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly clock: Clock;
}): Effects {
  return {
    parse: createParseEffect(options.parse),
    fetch: createFetch(options),
    storeLocal: createStoreLocal(options),
    storeRedis: createStoreRedis(options),
    evict: createEvict(options),
  };
}

/** `parse`: reads each message; several changes of one message set out as runs of their own. */
function createParseEffect(parse: Parse): Effect {
  return (runs) => {
    const results = runs.map((run) => parse(run.message));
    const take = (settled: readonly ParseResult[]): EffectOutcome[] =>
      runs.map((run, index) => outcomeOf(run, settled[index]));
    return areSettled(results)
      ? take(results)
      : Promise.all(results.map(async (result) => result)).then(take);
  };
}

/** Only a schema of a user's makes parsing wait. */
function areSettled(
  results: readonly (ParseResult | Promise<ParseResult>)[],
): results is readonly ParseResult[] {
  return results.every((result) => !(result instanceof Promise));
}

function outcomeOf(run: Run, result: ParseResult | undefined): EffectOutcome {
  if (result === undefined || result.kind === 'ignored') return 'ignored';
  if (result.kind === 'rejected') return result.error;
  const [change, ...more] = result.changes;
  if (change === undefined) return 'ignored';
  run.change = change;
  if (more.length > 0) {
    run.siblings = more.map((other, index) => {
      const sibling = new Run(run.message, run.index, index + 1, run.state, run.trail);
      sibling.change = other;
      sibling.token = run.token;
      return sibling;
    });
  }
  return 'parsed';
}
