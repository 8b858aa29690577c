import { asError, type CachewrightError, fail } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';
import type { Run } from '../core/run.ts';
import type { Effect, EffectOutcome } from './effect.ts';

/** Calls effects under a deadline and under the execution's signal. */
export interface EffectCalls {
  /**
   * Never rejects and never hangs: what the effect throws, its time running out, or the execution's end is every run's
   * outcome. An effect that answers without waiting is not waited for.
   */
  call(
    effect: Effect,
    name: string,
    group: readonly Run[],
  ): readonly EffectOutcome[] | Promise<readonly EffectOutcome[]>;
  /** No more calls: lets go of the execution's signal. */
  close(): void;
}

export function createEffectCalls(options: {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly log: Log;
}): EffectCalls {
  const { signal, timeoutMs, log } = options;
  /** How to end each call that is under way, for the moment the execution is aborted. */
  const underWay = new Set<() => void>();
  const onAbort = (): void => {
    for (const end of underWay) end();
  };
  signal.addEventListener('abort', onAbort, { once: true });

  const loud = (thrown: unknown, effect: string): CachewrightError => {
    const error = asError(thrown);
    if (error.code === 'E_UNEXPECTED') log.error({ effect, err: error.cause ?? error }, error.message);
    return error;
  };

  return {
    call(effect, name, group) {
      const all = (error: CachewrightError): EffectOutcome[] => group.map(() => error);
      const abort = new AbortController();
      let called: ReturnType<Effect>;
      try {
        called = effect(group, abort.signal);
        if (!(called instanceof Promise)) return [...called];
      } catch (thrown) {
        return all(loud(thrown, name));
      }
      const { promise, resolve } = Promise.withResolvers<readonly EffectOutcome[]>();
      const endWith = (error: CachewrightError): void => {
        abort.abort(error);
        resolve(all(error));
      };
      const onEnd = (): void => endWith(fail('E_ABORTED', { reason: String(signal.reason) }));
      const timer = setTimeout(
        () => endWith(fail('E_EFFECT_TIMEOUT', { effect: name, timeoutMs })),
        timeoutMs,
      );
      underWay.add(onEnd);
      if (signal.aborted) onEnd();
      called.then(
        (outcomes) => resolve(Array.isArray(outcomes) ? outcomes : []),
        (thrown: unknown) => resolve(all(loud(thrown, name))),
      );
      return promise.finally(() => {
        clearTimeout(timer);
        underWay.delete(onEnd);
      });
    },
    close: () => signal.removeEventListener('abort', onAbort),
  };
}
