import { fail } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';

/** A closed execution of a job, as the log tells it. */
export interface JobLine {
  readonly name: string;
  readonly execution: number;
  readonly messages: number;
  /** Messages by the state they are in. */
  readonly states: Readonly<Record<string, number>>;
  readonly durationMs: number;
}

/** A line per job; of many in a second the first few, and one for all that follow. */
export interface JobLog {
  tell(line: JobLine): void;
  /** Tells what was not told yet. */
  close(): void;
}

const LINES_PER_SECOND = 5;
const SECOND_MS = 1_000;

export function createJobLog({ log, clock }: { readonly log: Log; readonly clock: Clock }): JobLog {
  const closed = new AbortController();
  let sinceMs = Number.NEGATIVE_INFINITY;
  let lines = 0;
  let rest = { jobs: 0, messages: 0, states: new Map<string, number>() };

  const tellRest = (): void => {
    const { jobs, messages, states } = rest;
    rest = { jobs: 0, messages: 0, states: new Map() };
    if (jobs > 0) log.info({ jobs, messages, ...Object.fromEntries(states) }, 'more jobs');
  };

  return {
    tell({ name, execution, messages, states, durationMs }) {
      const nowMs = clock.now();
      if (nowMs - sinceMs >= SECOND_MS) {
        tellRest();
        [sinceMs, lines] = [nowMs, 0];
      }
      lines += 1;
      if (lines <= LINES_PER_SECOND)
        return log.info({ execution, messages, ...states, ms: durationMs }, name);
      if (rest.jobs === 0)
        void clock.sleep(sinceMs + SECOND_MS - nowMs, closed.signal).then(tellRest, tellRest);
      rest.jobs += 1;
      rest.messages += messages;
      for (const [state, count] of Object.entries(states))
        rest.states.set(state, (rest.states.get(state) ?? 0) + count);
    },
    close() {
      closed.abort(fail('E_ABORTED', { reason: 'the worker is closed' }));
      tellRest();
    },
  };
}
