/** Writes the pages of docs/ that are made from code: `npm run docs`. The parity test compares them instead. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changeMessage, chartMarkdown, compileChart } from '../../machines/index.ts';
import { optionsMarkdown } from '../../src/config/describe.ts';
import { catalogue, type ErrorOutcome } from '../../src/core/errors.ts';

export const DOCS = join(import.meta.dirname, '../../docs');

/** File name → content of every generated page. */
export function generatedDocs(): ReadonlyMap<string, string> {
  return new Map([
    ['options.md', optionsMarkdown()],
    ['errors.md', errorsMarkdown()],
    ['machine.md', chartMarkdown(compileChart(changeMessage))],
  ]);
}

const OUTCOMES: Readonly<Record<ErrorOutcome, string>> = {
  retry: 'the run waits and tries again, up to the attempts of its service; then it becomes a dead letter',
  reject:
    'the message or the request is at fault: a message goes to the dead letters at once, a request is answered with 4xx',
  defect: 'the program or its configuration is at fault: the run gives up at once and becomes a dead letter',
  wait: 'no failure of the run: it waits without using an attempt',
  refuse: 'the command or the start refuses and nothing ran; exit code 2',
  unreachable: 'a dependency cannot be reached; a command exits with 69',
};

function errorsMarkdown(): string {
  return [
    '# Errors',
    '',
    'Generated from the catalogue in `src/core/errors.ts` by `npm run docs`; a test holds this page equal to it.',
    '',
    '| outcome | what it means |',
    '| --- | --- |',
    ...Object.entries(OUTCOMES).map(([outcome, meaning]) => `| \`${outcome}\` | ${meaning} |`),
    '',
    '| code | outcome | message | what to do |',
    '| --- | --- | --- | --- |',
    ...Object.entries(catalogue).map(
      ([code, { outcome, message, next }]) =>
        `| \`${code}\` | \`${outcome}\` | ${cell(message)} | ${cell(next)} |`,
    ),
    '',
  ].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

if (process.argv[1] === import.meta.filename) {
  mkdirSync(DOCS, { recursive: true });
  for (const [name, content] of generatedDocs()) {
    const file = join(DOCS, name);
    writeFileSync(file, content);
  }
}
