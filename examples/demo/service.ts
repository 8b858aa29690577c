import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { bound } from '../../test/support/servers/bound.ts';
import { leftovers } from '../../test/support/servers/leftovers.ts';

export const ROOT = join(import.meta.dirname, '../..');
const CLI = join(ROOT, 'src/cli/bin.ts');
const START_MS = 60_000;
const DRAIN_MS = 30_000;

/** The service as a stranger would start it: `cachewright start --config FILE`, a process of its own. */
export interface Service {
  /** SIGTERM, and then as long as it needs to drain. */
  stop(): Promise<void>;
}

/**
 * Starts the service and returns when it is ready.
 *
 * @param onLine is given every line of its log
 */
export async function startService(configFile: string, onLine: (line: string) => void): Promise<Service> {
  const [command, args] = bound(process.execPath, [CLI, 'start', '--config', configFile, '--json']);
  // A session of its own: Ctrl-C reaches the demo only, which then ends the service in order.
  const child = spawn(command, args, { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const { pid } = child;
  if (pid === undefined) throw new Error('cannot start the service');
  const release = leftovers().holdChild(pid, 'SIGKILL');
  const ended = new Promise<string>((resolve) =>
    child.once('close', (code, signal) => {
      release();
      resolve(String(code ?? signal));
    }),
  );
  createInterface(child.stderr).on('line', onLine);
  const ready = new Promise<'ready'>((resolve) =>
    createInterface(child.stdout).on('line', (line) => line.includes('"ready":true') && resolve('ready')),
  );
  const early = ended.then((how) =>
    Promise.reject(new Error(`the service ended with ${how} before it was ready`)),
  );
  early.catch(() => undefined);
  await Promise.race([ready, early, tooLate('the service was not ready', START_MS)]);
  return {
    async stop() {
      child.kill('SIGTERM');
      await Promise.race([ended, tooLate('the service did not drain', DRAIN_MS)]);
    },
  };
}

/** Runs another command of the CLI to its end and returns what it printed. */
export async function runCommand(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(...bound(process.execPath, [CLI, ...args]), { cwd: ROOT });
  let output = '';
  let talk = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => void (output += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => void (talk += part));
  child.stdin.on('error', () => undefined); // it ended without reading; its exit code says why
  child.stdin.end(input);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`cachewright ${args[0]} ended with ${String(code)}: ${talk.trim()}`);
  return output;
}

function tooLate(what: string, ms: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} within ${ms / 1_000} s`)), ms).unref();
  });
}
