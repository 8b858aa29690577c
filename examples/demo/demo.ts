/**
 * `npm run demo`: the service on servers of its own, and eight messages sent through it.
 *
 *     npm run demo                   stays up until Ctrl-C, so that you can try more
 *     npm run demo -- --once         ends by itself: 0 when every journey ended as expected, else 1
 *     npm run demo -- --instances 4 also shows when four instances serve one change from their own memory
 *     npm run demo -- --no-kafka     as on a machine without Java: messages go in by HTTP and NDJSON
 */
import { parseArgs } from 'node:util';
import { reasonOf } from '../../src/core/errors.ts';
import { sweepLeftovers } from '../../test/support/servers/leftovers.ts';
import { createEnding, type Ending } from './ending.ts';
import { findDeadLetter, playJourneys } from './journeys.ts';
import { showInstances } from './instances.ts';
import { createLogLines, type LogLines } from './log-lines.ts';
import { createLook } from './look.ts';
import { sayWhatNext } from './next.ts';
import { green, headline, indent, print, red } from './screen.ts';
import { createSender } from './send.ts';
import { runCommand } from './service.ts';
import { buildStage, type Stage } from './stage.ts';
import { createTour } from './travel.ts';

const { values: flags } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    instances: { type: 'string', default: '1' },
    'no-kafka': { type: 'boolean', default: false },
  },
});
process.exit(await main());

/** Returns the exit code once everything that was started is gone. */
async function main(): Promise<number> {
  sweepLeftovers();
  const ending = createEnding();
  const log = createLogLines();
  const shown = show(ending, log).then(
    (code) => ({ code, staysUp: !flags.once, why: '' }),
    (error: unknown) => ({ code: 1, staysUp: false, why: reasonOf(error) }),
  );
  const signalled = ending.signalled.then((code) => ({ code, staysUp: false, why: '' }));
  const { code, staysUp, why } = await Promise.race([shown, signalled]);
  // After a signal the servers end that the show waits for: no reason to tell.
  if (why !== '') sayWhy(why, log);
  if (staysUp) await signalled;
  print('\nstopping everything …');
  await ending.closeAll();
  print('gone: servers, folders, the service');
  return code;
}

/** Shows it all; resolves with 0 when every journey ended as expected, else with 1. */
async function show(ending: Ending, log: LogLines): Promise<number> {
  headline('Cachewright: from a change message to both cache tiers');
  const stage = await buildStage({ wantsKafka: !flags['no-kafka'], onLine: log.take }, ending);
  const sender = createSender(stage, ending);
  const look = createLook(stage);
  const tour = createTour({ sender, look, log });

  headline(`Messages, through ${sender.way}`);
  const poison = await playJourneys(tour, stage);
  const deadLetter = await findDeadLetter(look);
  const instances = Math.min(16, Number.parseInt(flags.instances, 10) || 1);
  const incoherence = instances > 1 ? await showInstances(instances, { stage, sender, ending }) : '';
  const surprises = [...tour.problems, deadLetter, incoherence].filter((surprise) => surprise !== '');

  await showTrails(stage, poison);
  headline('The result');
  if (surprises.length === 0) print(green(`  ✓ all ${tour.count} journeys ended as expected`));
  for (const surprise of surprises) print(red(`  ✗ ${surprise}`));
  if (!flags.once) sayWhatNext(stage);
  return surprises.length === 0 ? 0 : 1;
}

function sayWhy(why: string, log: LogLines): void {
  print(`\n${red('The demo cannot go on:')} ${why}`);
  if (log.tail() !== '') print(`\nThe service's last words:\n${indent(log.tail())}`);
}

/** The trails as `cachewright trail` prints them. */
async function showTrails({ configFile }: Stage, poison: string): Promise<void> {
  headline('The trails, as `cachewright trail` prints them');
  const asked = [
    ['productInfoService', '200'],
    ['shopInfoService', '300'],
    ['--message', poison],
  ];
  const printed = await Promise.all(
    asked.map((args) => runCommand(['trail', ...args, '--config', configFile])),
  );
  for (const [index, text] of printed.entries()) {
    print(indent(`$ cachewright trail ${asked[index]?.join(' ')}`, 2));
    print(`${indent(text)}\n`);
  }
}
