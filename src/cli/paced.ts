import type { Clock } from '../core/ports.ts';
import type { Submit } from '../ingest/submit.ts';

/**
 * Lets so many messages a second pass; what is in time after a pause does not catch up.
 *
 * @param signal ends a wait: what waited passes at once
 */
export function paced(submit: Submit, perSecond: number, clock: Clock, signal: AbortSignal): Submit {
  let nextMs = 0;
  return async (messages, to) => {
    const waitMs = nextMs - clock.now();
    if (waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined);
    nextMs = Math.max(nextMs, clock.now()) + (messages.length / perSecond) * 1_000;
    return submit(messages, to);
  };
}
