import { createInterface } from 'node:readline/promises';
import { yellow } from './output.ts';

/** Whether a person sits there who can be asked. */
export function isTerminal(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks at the terminal; whatever is not a yes is a no, Ctrl-C and the end of the input too. */
export async function isConfirmed(question: string): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  // readline rejects at Ctrl-C and Ctrl-D, and leaves a question open for ever whose input just ends.
  const ended = new Promise<string>((resolve) => asking.once('close', () => resolve('')));
  const answered = asking.question(yellow(`${question} [y/N] `)).catch(() => '');
  const answer = await Promise.race([answered, ended]);
  asking.close();
  return /^y(es)?$/i.test(answer.trim());
}
