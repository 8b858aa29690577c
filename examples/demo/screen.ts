/** What the demo prints: on stdout, coloured only on a terminal. */
const isTerminal = process.stdout.isTTY === true;
const hasColour = isTerminal && process.stdout.hasColors();
const paint = (code: number, text: string): string => (hasColour ? `\u001b[${code}m${text}\u001b[0m` : text);

export const bold = (text: string): string => paint(1, text);
export const dim = (text: string): string => paint(2, text);
export const red = (text: string): string => paint(31, text);
export const green = (text: string): string => paint(32, text);
export const yellow = (text: string): string => paint(33, text);

export function print(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** A headline, with a line of space before it. */
export function headline(text: string): void {
  print(`\n${bold(text)}`);
}

/** Text as one block, each line moved to the right. */
export function indent(text: string, by = 4): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (line === '' ? '' : ' '.repeat(by) + line))
    .join('\n');
}

const TICK_MS = 250;

/** Says what is under way and, when it has ended, how long it took. A terminal sees the seconds grow. */
export async function progress<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  const startedMs = performance.now();
  const seconds = (): string => `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
  const line = (sign: string): string => `  ${sign} ${what}  ${dim(seconds())}`;
  const rewrite = (text: string): boolean => process.stdout.write(`\r\u001b[K${text}`);
  if (!isTerminal) print(`  … ${what}`);
  const timer = isTerminal ? setInterval(() => rewrite(line('…')), TICK_MS) : undefined;
  const end = (sign: string): void => {
    clearInterval(timer);
    if (isTerminal) rewrite('');
    print(line(sign));
  };
  try {
    const result = await work();
    end(green('✓'));
    return result;
  } catch (error) {
    end(red('✗'));
    throw error;
  }
}
