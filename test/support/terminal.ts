import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../src/cli/bin.ts', import.meta.url));

/** `cachewright` at a terminal of its own (a pseudo-terminal, by script(1)). */
export interface Terminal {
  /** What has been shown so far, what was typed included. */
  screen(): string;
  type(text: string): void;
  /** Its exit code. */
  readonly ended: Promise<number | null>;
}

export function startAtTerminal(args: readonly string[], cwd: string): Terminal {
  const command = [process.execPath, BIN, ...args].map(quoted).join(' ');
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CACHEWRIGHT_'));
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    cwd,
    env: { ...Object.fromEntries(inherited), TERM: 'xterm', SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let screen = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (screen += part));
  child.stdin.on('error', () => undefined); // it has ended
  return {
    screen: () => screen,
    type: (text) => void child.stdin.write(text),
    ended: new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    }),
  };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
