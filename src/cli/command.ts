import { type Command, InvalidArgumentError } from 'commander';
import { EXIT } from './output.ts';

/** Flags that every command takes, before or after its name. */
export interface GlobalOptions {
  /** Path of the configuration file. */
  readonly config?: string;
  /** Address of the running instance, without a slash at its end. */
  readonly url?: string;
  readonly json: boolean;
  readonly yes: boolean;
  readonly quiet: boolean;
}

/**
 * What a command does: it gets its own options together with the global ones, and its arguments.
 *
 * @returns its exit code
 * @throws an error of the catalogue, which `main` explains
 */
export type Run<Options> = (options: Options & GlobalOptions, args: readonly string[]) => Promise<number>;

/**
 * Makes a command's action. What the command needs is loaded only when it runs, so that `--help` loads nothing.
 *
 * @param load imports the command's file and returns what runs it
 */
export function action<Options extends object>(
  load: () => Promise<Run<Options>>,
): (this: Command) => Promise<void> {
  return async function (this: Command) {
    const run = await load();
    const code = await run(this.optsWithGlobals<Options & GlobalOptions>(), this.args);
    if (code !== EXIT.ok) process.exitCode = code;
  };
}

/** Reads the value of `--url`. */
export function readUrl(text: string): string {
  if (URL.canParse(text) && /^https?:/.test(text)) return text.replace(/\/+$/, '');
  throw new InvalidArgumentError('It is an address such as http://127.0.0.1:8080.');
}

/** Reads a count. */
export function readCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError('It is a whole number above 0.');
}
