import { fail } from '../src/core/errors.ts';
import type { Chart } from './compile.ts';

/** How a waiting run's state is kept: the machine it belongs to beside it, because states change meaning over versions. */
export function machineName(chart: Pick<Chart, 'id' | 'version'>): string {
  return `${chart.id}@${chart.version}`;
}

/** Whether a run's state belongs to a later version of the chart than this program has. */
export function isNewerMachine(chart: Pick<Chart, 'id' | 'version'>, machine: string): boolean {
  const [id, version = ''] = machine.split('@');
  return id === chart.id && Number(version) > Number(chart.version);
}

/** Moves a state of an older machine version to today's; undefined starts the run anew. */
export type Migration = (state: string) => string | undefined;

/** From older machine names (`change-message@0`) to today's states. Version 1 is the first: nothing to move yet. */
export const migrations: ReadonlyMap<string, Migration> = new Map();

/**
 * The state in which a persisted run goes on under `chart`.
 *
 * Same machine and version: its own state. An older version: what its migration says, else the chart's first state (a
 * run may safely start anew, its writes are fenced). A state that this version does not have: the first state.
 *
 * @throws E_SNAPSHOT_UNKNOWN for another machine, E_FORMAT_NEWER for a version newer than this program's
 */
export function adoptState(
  chart: Chart,
  machine: string,
  state: string,
  known: ReadonlyMap<string, Migration> = migrations,
): string {
  const [id, version = ''] = machine.split('@');
  if (id !== chart.id || !/^\d+$/.test(version)) throw fail('E_SNAPSHOT_UNKNOWN', { machine });
  if (isNewerMachine(chart, machine)) {
    throw fail('E_FORMAT_NEWER', { what: 'run', format: machine, known: machineName(chart) });
  }
  const today = version === chart.version ? state : (known.get(machine)?.(state) ?? chart.initial);
  const found = chart.states.get(today);
  return found === undefined || found.final ? chart.initial : today;
}
