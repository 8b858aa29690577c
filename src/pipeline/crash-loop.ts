import { sliceOfChunk } from '../core/chunk.ts';
import type { Execution, QueuedChunk } from '../core/ports.ts';
import { createTurns } from '../core/turns.ts';

/**
 * What to do with a job whose executions die with their process: a message that kills (an endless loop, a full heap, a
 * `process.exit` in a user's function) must end in the dead letters without taking the others of its chunk along.
 *
 * Two deaths in a row make a chunk suspect: it is split into halves, and halves again on each death, down to single
 * messages. A process runs one suspect at a time, so that a suspect that dies alone is very likely the one that kills.
 */
const DEATHS_TO_SUSPECT = 2;
/** A single suspected message is condemned after this many deaths of its own. */
const DEATHS_TO_CONDEMN = 2;

export function judge(execution: Execution): 'run' | 'split' | 'condemn' {
  const { data, begun, execution: number, lastClosed, passed } = execution;
  const single = data.positions.length === 1;
  if (data.suspect === true) {
    if (single) return begun >= DEATHS_TO_CONDEMN ? 'condemn' : 'run';
    return begun > 0 ? 'split' : 'run';
  }
  return number - 1 - lastClosed - passed.length >= DEATHS_TO_SUSPECT ? 'split' : 'run';
}

/** The halves of a job, suspects both; a single message becomes one part. Ids follow from the parent's. */
export function halvesOf(execution: Execution): QueuedChunk[] {
  const { job, name, data } = execution;
  const parentExecutions = data.parentExecutions + execution.execution;
  const count = data.positions.length;
  const middle = Math.ceil(count / 2);
  const cuts =
    count === 1
      ? [[0, 1]]
      : [
          [0, middle],
          [middle, count],
        ];
  return cuts.map(([from = 0, to = count], index) => ({
    id: `${job}.${index === 0 ? 'a' : 'b'}`,
    name: `${name.split(' ')[0]} ${data.positions[from]}–${data.positions[to - 1]}`,
    data: sliceOfChunk(data, from, to, { parentExecutions }),
  }));
}

/** Lets one suspect of this process run at a time; all others pass at once. */
export function createSuspectGate(): (execution: Execution) => Promise<() => void> {
  const takeTurn = createTurns(1);
  return async (execution) => {
    if (execution.data.suspect !== true) return () => undefined;
    const giveBack = await takeTurn();
    try {
      await execution.begin();
    } catch (thrown) {
      giveBack();
      throw thrown;
    }
    return giveBack;
  };
}
