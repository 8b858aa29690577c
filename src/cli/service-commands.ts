/** The commands that set up, start and look after a service. */
import type { Command } from 'commander';
import { action } from './command.ts';

export function addServiceCommands(program: Command): void {
  addStart(program);
  addMachine(program);
  addConfig(program);
  addInit(program);
  program
    .command('doctor')
    .description('reach every dependency, and say what is wrong and what to do')
    .addHelpText('after', examples('cachewright doctor', 'cachewright doctor --json | jq .findings'))
    .action(action(async () => (await import('./doctor.ts')).doctorCommand));
  program
    .command('migrate')
    .description('bring the audit store to the layout of this version, as a start would')
    .addHelpText('after', examples('cachewright migrate', 'cachewright migrate --json'))
    .action(action(async () => (await import('./migrate.ts')).migrateCommand));
}

function addStart(program: Command): void {
  addSettingFlags(program.command('start'))
    .description('start the service: take messages in, work on them, answer HTTP')
    .addHelpText(
      'after',
      `${examples(
        'cachewright start',
        'cachewright start --config ./cachewright.config.json --roles ingest,worker',
        'cachewright start --http-port 0 --log-format pretty --log-messages all',
      )}
Dependencies that are not up yet are waited for. SIGTERM or SIGINT drains (at most worker.shutdownGraceMs)
and ends with 0; when that time is not enough, or at a second signal, it ends with 143 or 130.`,
    )
    .action(action(async () => (await import('./start.ts')).startCommand));
}

function addMachine(program: Command): void {
  program
    .command('machine')
    .description('print the statechart every message goes through')
    .option('--mermaid', 'as a Mermaid diagram', false)
    .addHelpText(
      'after',
      examples('cachewright machine', 'cachewright machine --mermaid', 'cachewright machine --json'),
    )
    .action(action(async () => (await import('./machine.ts')).machineCommand));
}

function addConfig(program: Command): void {
  const config = program
    .command('config')
    .description('print or check the resolved configuration')
    .addHelpText('after', examples('cachewright config check', 'cachewright config print --sources'));
  addSettingFlags(config.command('print'))
    .description('print every option as it is resolved, secrets as ***')
    .option('--sources', 'with where each value comes from', false)
    .addHelpText(
      'after',
      examples(
        'cachewright config print',
        'cachewright config print --sources',
        'CACHEWRIGHT_HTTP_PORT=9000 cachewright config print --sources | grep http.port',
      ),
    )
    .action(action(async () => (await import('./config.ts')).configPrintCommand));
  addSettingFlags(config.command('check'))
    .description('say everything that is wrong with the configuration')
    .addHelpText(
      'after',
      examples('cachewright config check', 'cachewright config check --config other.json'),
    )
    .action(action(async () => (await import('./config.ts')).configCheckCommand));
}

function addInit(program: Command): void {
  program
    .command('init')
    .description('write a commented configuration, after a look at one message of a topic if there is one')
    .option('--from-topic <topic>', 'look at the oldest message of this topic')
    .option('--kafka-brokers <list>', 'brokers, host:port with commas between')
    .option('-o, --output <file>', 'file to write', 'cachewright.config.mjs')
    .addHelpText(
      'after',
      examples(
        'cachewright init',
        'cachewright init --from-topic products --kafka-brokers 127.0.0.1:9092',
        'cachewright init --yes --output ./config/cachewright.config.mjs',
      ),
    )
    .action(action(async () => (await import('./init.ts')).initCommand));
}

/** Options of the configuration that are often wanted for one start; `settings.ts` hands them on by their paths. */
function addSettingFlags(command: Command): Command {
  return command
    .option('--roles <list>', 'what this process does: ingest,worker,api')
    .option('--kafka-brokers <list>', 'kafka.brokers, with commas between')
    .option('--redis-url <url>', 'redis.url')
    .option('--audit-url <url>', 'audit.url')
    .option('--http-host <host>', 'http.host')
    .option('--http-port <port>', 'http.port; 0: any free one')
    .option('--log-level <level>', 'log.level: debug, info, warn, error, silent')
    .option('--log-messages <which>', 'log.messages: all, failures, none')
    .option('--log-format <format>', 'log.format: json, pretty');
}

/** The examples of a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`;
}
