import { type CpuTime, cpuOf, cpuPerMessage } from './cpu.ts';
import type { BenchRedis } from './lab.ts';
import type { RunningPipeline } from './pipeline.ts';

export interface Metered {
  readonly elapsedMs: number;
  /** Part → microseconds of CPU a message. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** Measures time and CPU from now on. Processes that come or go meanwhile are left out. */
export function startMeter(
  running: RunningPipeline,
  redis: BenchRedis,
  brokerPid: number,
): { stop(messages: number): Metered } {
  const parts: [string, number][] = [
    ...running
      .pids()
      .map((pid, index): [string, number] => [index === 0 ? 'process' : `process ${index + 1}`, pid]),
    ['redis', redis.pid],
    ...(redis.morePids ?? []).map((pid, index): [string, number] => [`redis ${index + 2}`, pid]),
    ['kafka', brokerPid],
  ];
  const look = (): (CpuTime | undefined)[] => parts.map(([, pid]) => cpuOf(pid));
  const [before, startMs] = [look(), performance.now()];
  return {
    stop(messages) {
      const elapsedMs = performance.now() - startMs;
      const cpu: Record<string, number> = {};
      for (const [index, after] of look().entries()) {
        const [label = ''] = parts[index] ?? [];
        const earlier = before[index];
        if (earlier === undefined || after === undefined) continue;
        const spent = cpuPerMessage(label, earlier, after, messages);
        // A broker or Redis has dozens of threads that nobody here can change: the whole is enough.
        Object.assign(cpu, label.startsWith('process') ? spent : { [label]: spent[label] ?? 0 });
      }
      return { elapsedMs, cpu };
    },
  };
}
