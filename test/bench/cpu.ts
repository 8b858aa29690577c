import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time for user space in hundredths of a second, whatever the kernel's own tick. */
const MS_PER_TICK = 10;

/** CPU time so far, in milliseconds, by thread name; `total` also holds threads and children that have ended. */
export interface CpuTime {
  readonly total: number;
  readonly threads: ReadonlyMap<string, number>;
}

/** Undefined when the process is gone. */
export function cpuOf(pid: number): CpuTime | undefined {
  const whole = readStat(`/proc/${pid}/stat`);
  if (whole === undefined) return undefined;
  const threads = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const stat = readStat(`/proc/${pid}/task/${task}/stat`);
    if (stat === undefined) continue;
    const name = Number(task) === pid ? 'main' : stat.name;
    threads.set(name, (threads.get(name) ?? 0) + ticks(stat, 11, 12));
  }
  return { total: ticks(whole, 11, 12, 13, 14), threads };
}

/** Microseconds a message between two looks, by thread; threads below 0.05 µs are left out. */
export function cpuPerMessage(
  label: string,
  before: CpuTime,
  after: CpuTime,
  messages: number,
): Record<string, number> {
  const perMessage = (ms: number): number => (ms * 1_000) / messages;
  const parts: Record<string, number> = { [label]: perMessage(after.total - before.total) };
  if (after.threads.size < 2) return parts;
  for (const [name, ms] of after.threads) {
    const spent = perMessage(ms - (before.threads.get(name) ?? 0));
    if (spent >= 0.05) parts[`${label}/${name}`] = spent;
  }
  return parts;
}

/** The resident set of a process now, in megabytes. */
export function rssMb(pid: number): number {
  return memoryMb(pid, 'VmRSS');
}

/** The largest resident set a process ever had, in megabytes. */
export function peakRssMb(pid: number): number {
  return memoryMb(pid, 'VmHWM');
}

function memoryMb(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1_024;
}

/** The process id of the child of ours whose command line contains `word`; the newest when there are several. */
export function childPid(word: string): number {
  const found = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && isOurChild(pid, word))
    .sort((a, b) => b - a)[0];
  if (found === undefined) throw new Error(`no child process runs ${word}`);
  return found;
}

function isOurChild(pid: number, word: string): boolean {
  try {
    const stat = readStat(`/proc/${pid}/stat`);
    return (
      Number(stat?.fields[1]) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word)
    );
  } catch {
    return false; // ended meanwhile
  }
}

interface Stat {
  readonly name: string;
  /** The fields after the name, from the state on (see proc_pid_stat(5)). */
  readonly fields: readonly string[];
}

function readStat(file: string): Stat | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    const end = text.lastIndexOf(')');
    return { name: text.slice(text.indexOf('(') + 1, end), fields: text.slice(end + 2).split(' ') };
  } catch {
    return undefined;
  }
}

function ticks(stat: Stat, ...fields: readonly number[]): number {
  return fields.reduce((sum, field) => sum + Number(stat.fields[field]) * MS_PER_TICK, 0);
}
