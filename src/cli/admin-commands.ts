/** The commands that change cached records by hand. */
import type { Command } from 'commander';
import { action, readCount } from './command.ts';
import { examples } from './service-commands.ts';

export function addAdminCommands(program: Command): void {
  addAdmin(program);
  addWarm(program);
}

function addAdmin(program: Command): void {
  program
    .command('refresh')
    .description('read records from their source again, by the way of all messages')
    .argument('<service>', 'the service')
    .argument('<ids...>', 'the ids of the records')
    .option('-r, --reason <text>', 'why; it stands in the ids of the messages, and so in every trail')
    .addHelpText(
      'after',
      `${examples(
        'cachewright refresh shopInfoService 300',
        'cachewright refresh shopInfoService 300 301 302 --reason "prices were wrong"',
      )}
Asks the running instance; when none answers, the queue itself.`,
    )
    .action(action(async () => (await import('./admin.ts')).refreshCommand));
  program
    .command('evict')
    .description('take records out of the caches, as a delete does: a newer version brings them back')
    .argument('<service>', 'the service')
    .argument('<ids...>', 'the ids of the records')
    .option('-r, --reason <text>', 'why; it stands in the ids of the messages, and so in every trail')
    .addHelpText(
      'after',
      `${examples('cachewright evict shopInfoService 300 --reason "asked by its owner"')}
Asks the running instance; when none answers, the queue itself.`,
    )
    .action(action(async () => (await import('./admin.ts')).evictCommand));
}

function addWarm(program: Command): void {
  program
    .command('warm')
    .description('read many records from their source into the caches, gently')
    .argument('<service>', 'the service')
    .option('--ids <file>', 'an id per line of this file; -: stdin')
    .option('--query <sql>', "instead: the first column of this query, asked of the service's Postgres")
    .option('--per-second <count>', 'records a second at most', readCount, 500)
    .option('--again', 'once more, although these ids were warmed before', false)
    .addHelpText(
      'after',
      `${examples(
        'cachewright warm shopInfoService --ids shops.txt',
        'cachewright warm stockService --query "select id from stock where quantity > 0" --per-second 2000',
      )}
While live changes fill the queue it waits. An interrupted run goes on where it stopped.`,
    )
    .action(action(async () => (await import('./warm.ts')).warmCommand));
}
