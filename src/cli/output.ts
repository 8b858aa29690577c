import { asError, type CachewrightError } from '../core/errors.ts';

/** Exit codes, the same for every command. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  difference: 3,
  unreachable: 69,
  interrupted: 130,
  terminated: 143,
} as const;

/** Colour only on a terminal, and not where NO_COLOR says so. */
const paint =
  (code: number) =>
  (text: string, on: NodeJS.WriteStream = process.stderr): string =>
    on.isTTY === true && on.hasColors() ? `\u001b[${code}m${text}\u001b[0m` : text;

export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);
export const dim = paint(2);

/** Data goes to stdout. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Talk goes to stderr, unless `--quiet`. */
export function say(text: string, quiet = false): void {
  if (!quiet) process.stderr.write(`${text}\n`);
}

/** The exit code an error ends a command with. */
export function exitCodeOf(error: CachewrightError): number {
  if (error.outcome === 'refuse') return EXIT.usage;
  return error.outcome === 'unreachable' ? EXIT.unreachable : EXIT.failed;
}

/** A reader that has seen enough (`… | head`) is no failure of ours. */
export function hushBrokenPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

/** Says what went wrong and what to do, without a stack trace, and sets the exit code. */
export function complain(thrown: unknown): void {
  const error = asError(thrown);
  process.stderr.write(`${red('error')} ${error.code}: ${error.message}\n${dim(error.next)}\n`);
  process.exitCode = exitCodeOf(error);
}

/** Ends the process once everything printed is out: a driver's last timer is not waited for. */
export async function leave(): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise((resolve) => stream.write('', resolve));
  }
  process.exit();
}
