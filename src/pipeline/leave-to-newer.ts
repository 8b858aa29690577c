import type { Chart } from '../../machines/compile.ts';
import { isNewerMachine, machineName } from '../../machines/snapshot.ts';
import { CHUNK_FORMAT, type ChunkData } from '../core/chunk.ts';
import { type CachewrightError, fail } from '../core/errors.ts';
import type { Clock, Execution, ExecutionEnd, Log } from '../core/ports.ts';

/** How long a job of a newer format rests before a worker looks again, milliseconds. */
const REST_MS = 5_000;
/** A queue may be full of such jobs during an upgrade: it is told this often, with their number, milliseconds. */
const TELL_EVERY_MS = 10_000;

/** What of a job this program is too old for: its layout, or the states its runs wait in; undefined when it knows both. */
export function newerThan(chart: Chart, data: ChunkData): CachewrightError | undefined {
  if (data.format > CHUNK_FORMAT)
    return fail('E_FORMAT_NEWER', { what: 'chunk', format: data.format, known: CHUNK_FORMAT });
  if (data.waiting === undefined || !isNewerMachine(chart, data.machine)) return undefined;
  return fail('E_FORMAT_NEWER', { what: 'run', format: data.machine, known: machineName(chart) });
}

/**
 * Leaves a job that a newer program wrote as it is, delayed, for a worker that can read it. The execution is noted as
 * one that passed, since it does not close: its successor must not take it for one that died.
 */
export function createLeaveToNewer(options: { readonly clock: Clock; readonly log: Log }) {
  const { clock, log } = options;
  let toldMs = Number.NEGATIVE_INFINITY;
  let untold = 0;
  return async (execution: Execution, error: CachewrightError): Promise<ExecutionEnd> => {
    await execution.pass();
    untold += 1;
    const nowMs = clock.now();
    if (nowMs - toldMs >= TELL_EVERY_MS) {
      log.warn({ job: execution.job, jobs: untold, code: error.code }, `${error.message} ${error.next}`);
      [toldMs, untold] = [nowMs, 0];
    }
    return { kind: 'wait', dueMs: nowMs + REST_MS };
  };
}
