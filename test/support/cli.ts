import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../src/cli/bin.ts', import.meta.url));

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Piped into stdin, which is closed otherwise. */
  readonly input?: string | Buffer;
  readonly nodeArgs?: readonly string[];
}

export interface CliResult {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs in a process of its own. */
export interface CliProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<CliResult>;
  /** What it printed so far. */
  stdout(): string;
  stderr(): string;
}

/** Starts `cachewright` as a person would, without anything of this process's environment that steers it. */
export function startCli(args: readonly string[], options: CliOptions = {}): CliProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CACHEWRIGHT_'));
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), BIN, ...args], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
  child.stdin.on('error', () => undefined); // a command that does not read it
  child.stdin.end(options.input ?? '');
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, ended, stdout: () => stdout, stderr: () => stderr };
}

/** Runs a command to its end. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).ended;
}
