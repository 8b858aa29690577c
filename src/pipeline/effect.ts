import type { CachewrightError } from '../core/errors.ts';
import type { Run } from '../core/run.ts';

/**
 * What an effect says of one run: the event that happened, or the error that did. An error's own outcome decides:
 * `reject` → the event `rejected` · `defect` → `exhausted`, loudly · `retry` → an attempt used · `wait` → none used.
 */
export type EffectOutcome = string | CachewrightError;

/** The work a state waits for, for a whole group: exactly one outcome per run, in order. */
export type Effect = (
  runs: readonly Run[],
  signal: AbortSignal,
) => readonly EffectOutcome[] | Promise<readonly EffectOutcome[]>;

/** All effects of a chart, by name. */
export type Effects = Readonly<Record<string, Effect>>;
