import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../../src/cli/main.ts';
import { EXIT } from '../../src/cli/output.ts';

const page = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');

/** The commands that do something, by their full names. */
function commandsOf(command: Command, above = ''): { name: string; command: Command }[] {
  return command.commands.flatMap((child) => {
    const name = `${above}${child.name()}`;
    return child.commands.length > 0 ? commandsOf(child, `${name} `) : [{ name, command: child }];
  });
}

/** The help as it is printed, with what was added after it. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

const commands = commandsOf(createProgram());

describe('the commands', () => {
  it('are those of docs/cli.md, in its order', () => {
    const documented = [...page.matchAll(/^## (.+)$/gm)]
      .map(([, name]) => name)
      .filter((name) => name !== 'Manners');
    expect(documented).toEqual(commands.map(({ name }) => name));
  });

  it.each(commands)(
    '$name has help with examples that call it and take the global flags',
    ({ name, command }) => {
      const help = helpOf(command);
      expect(help).toContain('Examples:');
      expect(help).toContain(`cachewright ${name}`);
      for (const flag of ['--config', '--url', '--json', '--yes', '--quiet']) expect(help).toContain(flag);
    },
  );

  it.each(commands)('$name has an example in docs/cli.md, and says how it ends', ({ name }) => {
    const section = page.split(/^## /m).find((text) => text.startsWith(`${name}\n`)) ?? '';
    expect(section).toContain(`cachewright ${name}`);
    expect(section).toMatch(/Exit\s+codes?/);
  });

  it('end with the exit codes of docs/cli.md', () => {
    const table = page.slice(page.indexOf('| exit code |'), page.indexOf('An unknown command'));
    const documented = [...table.matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, codes = '']) =>
      codes.split(', ').map(Number),
    );
    expect(documented).toEqual(Object.values(EXIT));
  });
});
