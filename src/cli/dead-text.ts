/** Dead letters as people read them. */
import type { Bytes } from '../core/change.ts';
import type {
  DiscardReport,
  Forecast,
  LetterHead,
  LetterList,
  RedriveReport,
  Rehearsal,
} from '../core/dead-letter.ts';
import type { DeadLetter } from '../core/ports.ts';

/** Forecasts listed one by one; more are counted only, `--json` has all. */
const MAX_LINES = 100;

const iso = (ms: number): string => new Date(ms).toISOString();

export function describeGroups({ total, groups }: LetterList): string {
  const lines = groups.map(
    ({ service, code, count, oldestMs, newestMs }) =>
      `${String(count).padStart(7)}  ${(service === '' ? '?' : service).padEnd(24)} ${code.padEnd(26)} ${iso(oldestMs)} – ${iso(newestMs)}`,
  );
  return [`${total} dead letter(s)`, ...lines].join('\n');
}

export function describeLetters(letters: readonly LetterHead[]): string {
  return letters
    .map(({ diedMs, message, service, recordId, state, error, redrive, redriving }) =>
      [
        iso(diedMs),
        message,
        `${service === '' ? '?' : service} ${printable(recordId)}`.trim(),
        `${state} ${error.code}`,
        redrive > 0 ? `redriven ${times(redrive)}` : '',
        redriving === null ? '' : `redrive asked for by ${redriving.by} at ${iso(redriving.atMs)}`,
      ]
        .filter((part) => part !== '')
        .join('  '),
    )
    .join('\n');
}

export function describeLetter(letter: DeadLetter): string {
  const { message, origin, service, recordId, cacheKey, state, error, attempts, redrive, headers } = letter;
  const lines: (readonly [name: string, text: string] | undefined)[] = [
    ['message', origin.epoch > 0 ? `${message} (epoch ${origin.epoch})` : message],
    ['service', service === '' ? 'not known' : `${service} ${recordId}`],
    cacheKey === '' ? undefined : ['key', cacheKey],
    ['state', `${state} in ${letter.stage === undefined || letter.stage === '' ? '?' : letter.stage}`],
    ['because', `${error.code}: ${error.message}`],
    ['next', error.next],
    ['attempts', `${attempts} failed, first ${iso(letter.firstFailedMs)}, died ${iso(letter.diedMs)}`],
    redrive > 0 ? ['redriven', times(redrive)] : undefined,
    ['job', `${letter.job}, execution ${letter.execution}`],
    letter.key === null ? undefined : ['kafka key', shown(letter.key)],
    ...headers.map(([name, value]) => ['header', `${name}: ${shown(value)}`] as const),
    ['value', letter.value === null ? 'none (a tombstone)' : shown(letter.value)],
  ];
  return lines
    .filter((line) => line !== undefined)
    .map(([name, text]) => `${name.padEnd(10)} ${printable(text)}`)
    .join('\n');
}

export function describeRedrive(report: RedriveReport): string {
  const done = `${report.redriven} message(s) are in the queue again; their letters leave when the new runs have ended`;
  return [done, ...leftOf(report), report.isInterrupted ? 'interrupted: the same command goes on' : '']
    .filter((line) => line !== '')
    .join('\n');
}

export function describeForecasts(rehearsal: Rehearsal): string {
  const counts = Object.entries(rehearsal.outcomes)
    .toSorted(([, a], [, b]) => b - a)
    .map(([state, count]) => `${String(count).padStart(7)}  ${state}${meaning(state)}`);
  const lines = rehearsal.forecasts.slice(0, MAX_LINES).map(describeForecast);
  const more = rehearsal.forecasts.length - lines.length;
  return [
    `${rehearsal.forecasts.length} of ${rehearsal.selected} dead letter(s) would be redriven; they would end:`,
    ...counts,
    ...leftOf(rehearsal),
    '',
    ...lines,
    more > 0 ? `… ${more} more; --json has them all` : '',
  ]
    .join('\n')
    .trimEnd();
}

function describeForecast({
  message,
  service,
  recordId,
  state,
  supersededBy,
  version,
  code,
}: Forecast): string {
  return [
    message,
    `${service === '' ? '?' : service} ${printable(recordId)}`.trim(),
    state,
    version,
    supersededBy === '' ? '' : `by ${supersededBy}`,
    code,
  ]
    .filter((part) => part !== '')
    .join('  ');
}

export function describeDiscard({ discarded, underWay, gone, remaining }: DiscardReport): string {
  return [
    `${discarded} dead letter(s) discarded`,
    underWay > 0 ? `${underWay} left: their redrive is under way (--force takes them too)` : '',
    gone > 0 ? `${gone} were gone meanwhile` : '',
    remaining > 0 ? `${remaining} remain` : '',
  ]
    .filter((line) => line !== '')
    .join('\n');
}

/** Whether a letter would not find its end by a redrive now. */
export function wouldDie({ state }: Forecast): boolean {
  return state === 'rejected' || state === 'gaveUp' || state === 'waits' || state === 'untried';
}

function leftOf({ underWay, atLimit, gone, remaining }: RedriveReport): string[] {
  return [
    underWay > 0 ? `${underWay} left: their redrive is under way` : '',
    atLimit > 0
      ? `${atLimit} left: redriven as often as is allowed (deadLetters.maxRedrives); --force insists`
      : '',
    gone > 0 ? `${gone} were gone meanwhile` : '',
    remaining > 0 ? `${remaining} remain` : '',
  ].filter((line) => line !== '');
}

function meaning(state: string): string {
  if (state === 'gaveUp') return ' (the source fails now; in earnest it is retried first)';
  if (state === 'waits') return ' (the source is at its limit or its breaker is open)';
  if (state === 'untried') return ' (it killed its workers, and is not tried here)';
  return '';
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

function shown(bytes: Bytes): string {
  return typeof bytes === 'string' ? bytes : `base64 ${bytes.base64}`;
}

/** Ids and bytes come from messages: control characters must not reach a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);
}
