/** The commands for dead letters. */
import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../config/durations.ts';
import { systemClock } from '../core/clock.ts';
import { action, readCount } from './command.ts';
import { examples } from './service-commands.ts';

/** Which letters are meant, as flags. */
export interface SelectionFlags {
  readonly message?: string;
  readonly service?: string;
  readonly id?: string;
  readonly code?: string;
  readonly since?: number;
  readonly until?: number;
  readonly all: boolean;
}

export interface ActionFlags extends SelectionFlags {
  readonly reason?: string;
  readonly by?: string;
  readonly force: boolean;
  readonly limit: number;
}

/** Letters an action takes on unless it is told otherwise: all there are. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export function addDeadCommands(program: Command): void {
  const dead = program.command('dead').description('look at dead letters, redrive or discard them');
  addList(dead);
  addShow(dead);
  addRedrive(dead);
  addDiscard(dead);
}

function selecting(command: Command): Command {
  return command
    .option('-m, --message <message>', 'the letters of a message')
    .option('-s, --service <service>', 'of a service')
    .option('-i, --id <id>', 'of a record, by its id')
    .option('--code <code>', 'that died of this error, such as E_FETCH_FAILED')
    .option('--since <time>', 'that died since: ISO time, epoch milliseconds, or how long ago (2h)', readTime)
    .option('--until <time>', 'that died until', readTime)
    .option('--all', 'all of them', false);
}

function acting(command: Command, what: string): Command {
  return selecting(command)
    .option('-r, --reason <text>', `why; kept in the audit (needed to ${what})`)
    .option('--by <name>', 'who; kept in the audit (else your user name)')
    .option('-n, --limit <count>', 'at most so many, the oldest', readCount, NO_LIMIT);
}

function addList(dead: Command): void {
  selecting(dead.command('list').description('count dead letters by service and error, and list the oldest'))
    .option('-n, --limit <count>', 'list at most so many', readCount, 20)
    .addHelpText(
      'after',
      examples(
        'cachewright dead list',
        'cachewright dead list --service shopInfoService --since 2h',
        'cachewright dead list --code E_FETCH_FAILED --limit 1000 --json | jq -r .letters[].message',
      ),
    )
    .action(action(async () => (await import('./dead.ts')).deadListCommand));
}

function addShow(dead: Command): void {
  dead
    .command('show')
    .description('print the dead letter of a message: its bytes, why it died, what to do')
    .argument('<message>', 'the message id')
    .addHelpText(
      'after',
      examples(
        'cachewright dead show cache-message-0@17',
        'cachewright dead show cache-message-0@17 --json | jq -r .[0].value',
      ),
    )
    .action(action(async () => (await import('./dead.ts')).deadShowCommand));
}

function addRedrive(dead: Command): void {
  acting(
    dead.command('redrive').description('put the messages of dead letters into the queue again'),
    'redrive',
  )
    .option('--dry-run', 'only say what would become of each, reading sources and fences', false)
    .option('--force', 'also those at deadLetters.maxRedrives, and those under way', false)
    .option('--per-second <count>', 'messages a second (else deadLetters.redrivePerSecond)', readCount)
    .addHelpText(
      'after',
      `${examples(
        'cachewright dead redrive --service shopInfoService --dry-run',
        'cachewright dead redrive --code E_SERVICE_UNKNOWN --reason "the service is configured now" --yes',
        'cachewright dead redrive --message cache-message-0@17 --reason "source mended" --force --yes',
      )}
A redriven message is fetched again and goes through the fence: it cannot replace anything newer. A letter stays until
its new run is final; a run that dies again leaves a letter with a higher count.`,
    )
    .action(action(async () => (await import('./dead.ts')).deadRedriveCommand));
}

function addDiscard(dead: Command): void {
  acting(dead.command('discard').description('take dead letters away for good, on record'), 'discard')
    .option('--dry-run', 'only count them', false)
    .option('--force', 'also those whose redrive is under way', false)
    .addHelpText(
      'after',
      examples(
        'cachewright dead discard --message cache-message-0@17 --reason "test message" --yes',
        'cachewright dead discard --code E_MESSAGE_NOT_JSON --until 7d --reason "old garbage" --yes',
      ),
    )
    .action(action(async () => (await import('./dead.ts')).deadDiscardCommand));
}

/** A time, or how long ago. */
function readTime(text: string): number {
  const agoMs = /^\d+$/.test(text) ? undefined : parseDuration(text);
  const ms =
    agoMs === undefined
      ? /^\d+$/.test(text)
        ? Number(text)
        : Date.parse(text)
      : systemClock().now() - agoMs;
  if (Number.isFinite(ms)) return ms;
  throw new InvalidArgumentError('It is a time such as 2026-01-31T10:00:00Z, or how long ago, such as 2h.');
}
