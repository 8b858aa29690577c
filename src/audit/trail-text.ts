import { catalogue, isErrorCode } from '../core/errors.ts';
import type { AuditRecord, TrailStep } from '../core/trail.ts';

/**
 * Trails as people read them: one block per message, in it every execution, in it one line per step.
 *
 * ```text
 * cache-message-0@17 · productInfoService 200 · key product_info_200
 *   execution 1 · worker host-4711 · job cachewright.cache-message.0.0.17-17
 *     2026-01-31T10:00:00.123Z    0.21 ms  received → parsed            parse: parsed
 *     2026-01-31T10:00:00.124Z    1.80 ms  parsed → fetched             fetch: fetched (time of a group of 500)
 *     ended redisCached after 9.1 ms · version time:1769853600000000000
 * ```
 *
 * @param records of one or more messages, oldest first
 */
export function formatTrail(records: readonly AuditRecord[]): string {
  const messages = Map.groupBy(records, ({ message, epoch, redrive }) => `${message} ${epoch} ${redrive}`);
  return [...messages.values()].map(formatMessage).join('\n\n');
}

function formatMessage(records: readonly AuditRecord[]): string {
  const [first] = records;
  if (first === undefined) return '';
  // An execution that died before it read the message does not know the key; another one does.
  const { service, recordId, key } = records.find((record) => record.key !== '') ?? first;
  const title = [
    first.message,
    first.epoch > 0 ? `epoch ${first.epoch}` : '',
    first.redrive > 0 ? `redrive ${first.redrive}` : '',
    `${service} ${printable(recordId)}`.trim(),
    key === '' ? '' : `key ${printable(key)}`,
  ];
  return [joined(title), ...records.flatMap(formatExecution)].join('\n');
}

/** What a person did with a dead letter is told as one line, with what the letter had died of. */
const ACTIONS: ReadonlySet<string> = new Set(['redriven', 'discarded']);

function formatExecution(record: AuditRecord): string[] {
  const { execution, worker, job, error, note } = record;
  if (ACTIONS.has(record.state)) {
    const died = error === null ? '' : `it had died of ${error.code}`;
    return [`  ${joined([`${time(record.endedMs)} ${printable(note)}`, died, `job ${job}`])}`];
  }
  const lines = [
    joined([`execution ${execution}`, worker === '' ? '' : `worker ${worker}`, `job ${job}`]),
    ...record.steps.map((step) => `  ${formatStep(step)}`),
    `  ${joined([outcomeOf(record), ...detailsOf(record)])}`,
    ...(error === null ? [] : [`  ${error.code}: ${printable(withNext(error))}`]),
    ...(note === '' ? [] : [`  note: ${printable(note)}`]),
  ];
  return lines.map((line) => `  ${line}`);
}

function formatStep({ from, effect, event, to, atMs, durationMs, size }: TrailStep): string {
  const group = size > 1 ? ` (time of a group of ${size})` : '';
  return `${time(atMs)} ${duration(durationMs).padStart(10)}  ${`${from} → ${to}`.padEnd(28)} ${effect}: ${event}${group}`;
}

function outcomeOf({ state, dueMs, startedMs, endedMs }: AuditRecord): string {
  if (state === 'lost') return `${time(endedMs)} lost: this execution died before it closed`;
  if (dueMs > 0) return `waits in ${state} until ${time(dueMs)}`;
  return `ended ${state} after ${duration(endedMs - startedMs)}`;
}

function detailsOf({ version, attempts, supersededBy }: AuditRecord): string[] {
  return [
    version === '' ? '' : `version ${version}`,
    attempts === 0 ? '' : `${attempts} failed ${attempts === 1 ? 'attempt' : 'attempts'}`,
    supersededBy === '' ? '' : `superseded by ${supersededBy}`,
  ];
}

/** What to do next is part of most recorded messages; where it is not, the catalogue knows it. */
function withNext({ code, message }: { readonly code: string; readonly message: string }): string {
  const next = isErrorCode(code) ? catalogue[code].next : '';
  return message.includes(next) ? message : `${message} ${next}`;
}

function time(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

function duration(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

/** Ids and keys come from messages: control characters must not reach a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);
}

function joined(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' · ');
}
