import { CachewrightError, fail } from '../core/errors.ts';
import { type BreakerRule, createCallBreaker } from './call-breaker.ts';
import { aborted, createCallTurns, type TurnRule } from './call-turns.ts';

/** What stands between an adapter and its source: every single call (request, query, function call) goes through it. */
export interface CallGate {
  /**
   * Runs one call when the limits allow it.
   *
   * @param call gets a signal that fires with the caller's, or when its time is up; it has to stop then
   * @throws what the call throws; `E_SOURCE_OPEN` and `E_SOURCE_BUSY` with `retryAfterMs`; `E_FETCH_TIMEOUT`; `E_ABORTED`
   */
  run<T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export interface CallGateOptions extends TurnRule {
  /** How long one call may take, milliseconds; waiting for its turn does not count. */
  readonly timeoutMs: number;
  readonly breaker: BreakerRule;
}

/** A source that asks for a pause (`Retry-After`) is given at most this much, milliseconds. */
const MAX_REST_MS = 60_000;

export function createCallGate(options: CallGateOptions): CallGate {
  const breaker = createCallBreaker(options.service, options.breaker, options.clock);
  const turns = createCallTurns(options);

  /** A pause that the source asks for begins before the call counts as over: the next turn is given right then. */
  function heedingPauses<T>(call: (signal: AbortSignal) => Promise<T>): typeof call {
    return async (signal) => {
      try {
        return await call(signal);
      } catch (thrown) {
        turns.rest(Math.min(pauseAskedFor(thrown), MAX_REST_MS));
        throw thrown;
      }
    };
  }

  return {
    async run(signal, call) {
      breaker.check();
      const release = await turns.take(signal);
      let wasCalled = false;
      try {
        if (signal.aborted) throw aborted(signal);
        return await breaker.run(() => {
          wasCalled = true;
          const { answer, ended } = begin(options, signal, heedingPauses(call));
          void ended.then(() => release(true));
          return answer;
        });
      } finally {
        if (!wasCalled) release(false);
      }
    },
  };
}

function pauseAskedFor(thrown: unknown): number {
  if (!(thrown instanceof CachewrightError) || thrown.code !== 'E_FETCH_FAILED') return 0;
  return Number(thrown.details['retryAfterMs'] ?? 0);
}

interface Begun<T> {
  /** Comes in time: the call's answer, or why there is none. */
  readonly answer: Promise<T>;
  /**
   * Resolves when the call is really over: one that was given up may be at the source a moment longer. But a function
   * that never listens to its signal does not hold its turn for ever, only once more its time.
   */
  readonly ended: Promise<void>;
}

function begin<T>(
  { service, timeoutMs }: { readonly service: string; readonly timeoutMs: number },
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Begun<T> {
  const controller = new AbortController();
  const stopped = Promise.withResolvers<never>();
  const ended = Promise.withResolvers<void>();
  const onAbort = (): void => stop(aborted(signal));
  let timer = setTimeout(() => stop(fail('E_FETCH_TIMEOUT', { service, timeoutMs })), timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });

  function stop(error: CachewrightError): void {
    stopped.reject(error);
    controller.abort(error);
    clearTimeout(timer);
    timer = setTimeout(ended.resolve, timeoutMs);
  }
  const finish = (): void => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    ended.resolve();
  };
  const called = (async () => call(controller.signal))();
  called.then(finish, finish);
  return { answer: Promise.race([called, stopped.promise]), ended: ended.promise };
}
