import { userInfo } from 'node:os';
import type { DeadLetterOffice, LetterSelection } from '../core/dead-letter.ts';
import { fail } from '../core/errors.ts';
import type { GlobalOptions, Run } from './command.ts';
import { isConfirmed, isTerminal } from './confirm.ts';
import type { ActionFlags, SelectionFlags } from './dead-commands.ts';
import {
  describeDiscard,
  describeForecasts,
  describeGroups,
  describeLetter,
  describeLetters,
  describeRedrive,
  wouldDie,
} from './dead-text.ts';
import { openOffice } from './dead-office.ts';
import { EXIT, print, say } from './output.ts';
import { createProgress } from './progress.ts';

/** `cachewright dead list`: groups on top, the oldest letters below. */
export const deadListCommand: Run<SelectionFlags & { readonly limit: number }> = async (options) =>
  openOffice(options, async (office) => {
    const list = await office.list(selectionOf(options), options.limit);
    if (options.json) print(JSON.stringify(list));
    else if (list.total > 0) print(`${describeGroups(list)}\n\n${describeLetters(list.letters)}`);
    const more = list.total - list.letters.length;
    if (more > 0) say(`${more} more; --limit shows them`, options.quiet);
    if (list.total === 0) say('no dead letters', options.quiet);
    return EXIT.ok;
  });

/** `cachewright dead show MESSAGE`. */
export const deadShowCommand: Run<object> = async (options, [message = '']) =>
  openOffice(options, async (office) => {
    const letters = await office.show(message);
    if (options.json) print(JSON.stringify(letters, null, 2));
    else if (letters.length > 0) print(letters.map(describeLetter).join('\n\n'));
    if (letters.length === 0) throw fail('E_NOT_FOUND', { what: `A dead letter of ${message}` });
    return EXIT.ok;
  });

interface RedriveFlags extends ActionFlags {
  readonly dryRun: boolean;
  readonly perSecond?: number;
}

/** `cachewright dead redrive`: asks before it acts, unless `--yes`. An interrupt ends it after the chunk in hand. */
export const deadRedriveCommand: Run<RedriveFlags> = async (options) => {
  const selection = selectionOf(options, 'redrive');
  return openOffice(options, async (office, config) => {
    const { force, limit, perSecond = config.deadLetters.redrivePerSecond } = options;
    if (options.dryRun) return rehearse(office, selection, { ...options, perSecond });
    const author = authorOf(options);
    const total = await confirm(office, selection, options, 'Redrive');
    const interrupt = new AbortController();
    const onSignal = (): void => interrupt.abort();
    process.once('SIGINT', onSignal);
    const progress = createProgress(options.quiet);
    try {
      const report = await office.redrive(selection, {
        ...author,
        force,
        limit,
        perSecond,
        signal: interrupt.signal,
        onProgress: (done) => progress.show(done / Math.max(1, Math.min(total, limit)), done),
      });
      progress.clear();
      print(options.json ? JSON.stringify(report) : describeRedrive(report));
      if (report.isInterrupted) return EXIT.interrupted;
      return report.atLimit > 0 ? EXIT.failed : EXIT.ok;
    } finally {
      progress.clear();
      process.off('SIGINT', onSignal);
    }
  });
};

async function rehearse(
  office: DeadLetterOffice,
  selection: LetterSelection,
  options: RedriveFlags & GlobalOptions & { readonly perSecond: number },
): Promise<number> {
  const { force, limit, perSecond } = options;
  const progress = createProgress(options.quiet);
  const rehearsal = await office.rehearse(selection, {
    force,
    limit,
    perSecond,
    onProgress: (done, total) => progress.show(done / Math.max(1, total), done),
  });
  progress.clear();
  if (rehearsal.selected === 0) throw nothingSelected();
  print(options.json ? JSON.stringify(rehearsal) : describeForecasts(rehearsal));
  say('Dry run: nothing was written.', options.quiet);
  return rehearsal.atLimit > 0 || rehearsal.forecasts.some(wouldDie) ? EXIT.difference : EXIT.ok;
}

/** `cachewright dead discard`: asks before it acts, unless `--yes`. */
export const deadDiscardCommand: Run<ActionFlags & { readonly dryRun: boolean }> = async (options) => {
  const selection = selectionOf(options, 'discard');
  return openOffice(options, async (office) => {
    if (options.dryRun) {
      const list = await office.list(selection, 0);
      if (list.total === 0) throw nothingSelected();
      print(options.json ? JSON.stringify(list) : describeGroups(list));
      say('Dry run: nothing was written.', options.quiet);
      return EXIT.ok;
    }
    const author = authorOf(options);
    await confirm(office, selection, options, 'Discard');
    const { force, limit } = options;
    const report = await office.discard(selection, { ...author, force, limit });
    print(options.json ? JSON.stringify(report) : describeDiscard(report));
    return EXIT.ok;
  });
};

/** @param action what happens to the letters: then "all" has to be said */
function selectionOf(flags: SelectionFlags, action?: string): LetterSelection {
  const { message, service, id, code, since, until, all } = flags;
  const selection = {
    ...(message !== undefined && { message }),
    ...(service !== undefined && { service }),
    ...(id !== undefined && { id }),
    ...(code !== undefined && { code }),
    ...(since !== undefined && { sinceMs: since }),
    ...(until !== undefined && { untilMs: until }),
  };
  const isNarrowed = Object.keys(selection).length > 0;
  if (action !== undefined && isNarrowed === all) {
    const reason = all
      ? 'Give --all, or what narrows it, not both.'
      : `Say which to ${action}: --message, --service, --id, --code, --since, --until, or --all.`;
    throw fail('E_USAGE', { reason });
  }
  return selection;
}

function authorOf({ reason, by }: ActionFlags): { readonly by: string; readonly reason: string } {
  if (reason === undefined || reason.trim() === '')
    throw fail('E_USAGE', { reason: 'Give a --reason: it is kept in the audit. --dry-run needs none.' });
  return { by: by ?? userInfo().username, reason: reason.trim() };
}

/** Shows what is meant and asks a person; where nobody can answer, `--yes` has to be given. Returns how many are meant. */
async function confirm(
  office: DeadLetterOffice,
  selection: LetterSelection,
  options: ActionFlags & GlobalOptions,
  verb: string,
): Promise<number> {
  if (!options.yes && !isTerminal())
    throw fail('E_USAGE', { reason: 'Nobody can be asked here: give --yes, or --dry-run to see first.' });
  const list = await office.list(selection, 0);
  if (list.total === 0) throw nothingSelected();
  if (options.yes) return list.total;
  say(describeGroups(list));
  const count = Math.min(list.total, options.limit);
  if (!(await isConfirmed(`${verb} ${count} dead letter(s)?`)))
    throw fail('E_USAGE', { reason: 'Nothing was done.' });
  return list.total;
}

function nothingSelected(): Error {
  return fail('E_NOT_FOUND', { what: 'A dead letter like that' });
}
