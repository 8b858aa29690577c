import type { Child } from '../support/servers/process.ts';
import type { RunningPipeline } from './pipeline.ts';

/** What all pipelines that run as child processes have in common; `children` may change while they run. */
export function childrenAsPipeline(
  children: readonly Child[],
): Pick<RunningPipeline, 'pids' | 'logTail' | 'mustRun' | 'stop'> {
  return {
    pids: () => children.map(({ pid }) => pid),
    logTail: () => children.map((child) => child.logTail(3)).join('\n'),
    mustRun() {
      for (const child of children) {
        if (!child.isRunning()) throw new Error(`${child.name} ended:\n${child.logTail(15)}`);
      }
    },
    stop: async () => void (await Promise.all(children.map((child) => child.stop(20_000)))),
  };
}
