import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { addAdminCommands } from './admin-commands.ts';
import { readUrl } from './command.ts';
import { addDataCommands } from './data-commands.ts';
import { addDeadCommands } from './dead-commands.ts';
import { complain, EXIT, hushBrokenPipes } from './output.ts';
import { addServiceCommands } from './service-commands.ts';

/**
 * Runs one command. Never rejects: what went wrong is on stderr and in `process.exitCode`.
 *
 * @param argv as `process.argv`: two words that are skipped, then the command
 */
export async function main(argv: readonly string[]): Promise<void> {
  hushBrokenPipes();
  try {
    await createProgram().parseAsync([...argv]);
  } catch (thrown) {
    // commander has already said what is wrong, or printed the help that was asked for.
    if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    else complain(thrown);
  }
}

/** The program with all its commands. */
export function createProgram(): Command {
  const program = new Command('cachewright')
    .description('Cache data production: change messages from Kafka into a local tier and Redis.')
    .version(versionOfPackage(), '-V, --version')
    .option(
      '-c, --config <file>',
      'configuration file (else CACHEWRIGHT_CONFIG, else cachewright.config.* here)',
    )
    .option('--url <url>', 'running instance to ask (else `http` of the configuration)', readUrl)
    .option('--json', 'print JSON', false)
    .option('-y, --yes', 'do not ask: overwrite what is there', false)
    .option('-q, --quiet', 'print results and errors only', false)
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('See --help for what there is.')
    .exitOverride();
  addServiceCommands(program);
  addDataCommands(program);
  addDeadCommands(program);
  addAdminCommands(program);
  return program.addHelpText('after', CLOSING_WORDS);
}

const CLOSING_WORDS = `
Exit codes: 0 ok · 1 failed · 2 usage or configuration · 3 a check found a difference ·
            69 a dependency cannot be reached · 130, 143 ended by a signal
Results are printed on stdout, everything else on stderr.

From a checkout: npm run -s cachewright -- <command> …`;

function versionOfPackage(): string {
  const found: unknown = createRequire(import.meta.url)('cachewright/package.json');
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : '';
}
