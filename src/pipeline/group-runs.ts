import type { Chart } from '../../machines/compile.ts';
import type { Run } from '../core/run.ts';

/**
 * Cuts runs into groups that one call of an effect takes: by effect, by service where records are fetched (so that no
 * source waits for another), by count, and by about how many bytes of message and record text they hold.
 */
export function groupRuns(
  runs: readonly Run[],
  {
    chart,
    maxGroupRuns,
    maxGroupBytes,
  }: { readonly chart: Chart; readonly maxGroupRuns: number; readonly maxGroupBytes: number },
): Run[][] {
  const groups: Run[][] = [];
  const open = new Map<string, { runs: Run[]; bytes: number }>();
  for (const run of runs) {
    const effect = chart.state(run.state).effect ?? '';
    const name = effect === 'fetch' ? `fetch ${run.change?.service.id}` : effect;
    const bytes = sizeOf(run);
    let group = open.get(name);
    if (group === undefined || group.runs.length >= maxGroupRuns || group.bytes + bytes > maxGroupBytes) {
      group = { runs: [], bytes: 0 };
      open.set(name, group);
      groups.push(group.runs);
    }
    group.runs.push(run);
    group.bytes += bytes;
  }
  return groups;
}

function sizeOf(run: Run): number {
  const { value } = run.message;
  const raw = value === null ? 0 : typeof value === 'string' ? value.length : value.base64.length;
  return run.record === undefined ? raw : Math.max(raw, run.record.text.length);
}
