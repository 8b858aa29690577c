import { adoptState } from '../../machines/snapshot.ts';
import type { Chart } from '../../machines/compile.ts';
import { type ChunkData, chunkOf, messageAt, type Waiting } from '../core/chunk.ts';
import { Run } from '../core/run.ts';
import { Trail } from '../core/trail.ts';
import type { Parse } from './parse.ts';

/** A run that is not due yet: it stays in the job untouched. */
export interface Resting {
  readonly place: string;
  readonly index: number;
  readonly waiting: Waiting;
}

/**
 * The runs an execution takes up, and those that rest because they are not due.
 *
 * A run that waited goes on in its own state; what it had read of its message is read again from the raw bytes. If
 * that no longer works (the configuration has changed), it starts anew and its error is told in the usual way.
 */
export async function runsOfChunk(
  chunk: ChunkData,
  chart: Chart,
  parse: Parse,
  nowMs: number,
): Promise<{ runs: Run[]; resting: Resting[] }> {
  const root = Trail.root();
  const runs: Run[] = [];
  const resting: Resting[] = [];
  const waitingOf = waitingByIndex(chunk);
  for (let index = 0; index < chunk.positions.length; index += 1) {
    const waits = waitingOf.get(index);
    if (waits === undefined) {
      runs.push(new Run(messageAt(chunk, index), index, 0, chart.initial, root));
      continue;
    }
    for (const { part, place, waiting } of waits) {
      if (waiting.dueMs > nowMs) {
        resting.push({ place, index, waiting });
        continue;
      }
      const state = adoptState(chart, chunk.machine, waiting.state);
      const run = new Run(
        messageAt(chunk, index),
        index,
        part,
        state,
        root,
        waiting.attempts,
        waiting.sinceMs,
      );
      if (state !== chart.initial) await resume(run, parse, chart);
      runs.push(run);
    }
  }
  return { runs, resting };
}

async function resume(run: Run, parse: Parse, chart: Chart): Promise<void> {
  const parsed = await parse(run.message);
  const change = parsed.kind === 'changes' ? parsed.changes[run.part] : undefined;
  if (change === undefined) run.state = chart.initial;
  else run.change = change;
}

function waitingByIndex(chunk: ChunkData): Map<number, { part: number; place: string; waiting: Waiting }[]> {
  const byIndex = new Map<number, { part: number; place: string; waiting: Waiting }[]>();
  for (const [place, waiting] of Object.entries(chunk.waiting ?? {})) {
    const [index = '0', part = '0'] = place.split('#');
    const list = byIndex.get(Number(index)) ?? [];
    list.push({ part: Number(part), place, waiting });
    byIndex.set(Number(index), list);
  }
  return byIndex;
}

/** What stays in the job: the runs that wait and those that rest, under their messages; null when nothing does. */
export function restOf(
  chunk: ChunkData,
  machine: string,
  waiting: readonly Run[],
  resting: readonly Resting[],
): ChunkData | null {
  const places: Resting[] = [
    ...resting,
    ...waiting.map((run) => ({
      place: run.place,
      index: run.index,
      waiting: {
        state: run.state,
        attempts: run.attempts,
        dueMs: Math.ceil(run.dueMs),
        sinceMs: Math.floor(run.sinceMs),
        error: run.error?.code ?? '',
      },
    })),
  ];
  if (places.length === 0) return null;
  const kept = [...new Set(places.map(({ index }) => index))].sort((a, b) => a - b);
  const newIndex = new Map(kept.map((index, at) => [index, at]));
  const moved = places.map(({ place, index, waiting: waits }) => {
    const part = place.split('#')[1];
    const at = newIndex.get(index) ?? 0;
    return [part === undefined ? String(at) : `${at}#${part}`, waits] as const;
  });
  return chunkOf(
    kept.map((index) => messageAt(chunk, index)),
    machine,
    { redrive: chunk.redrive, parentExecutions: chunk.parentExecutions, waiting: Object.fromEntries(moved) },
  );
}
