import type {
  DeadLetterOffice,
  DiscardReport,
  LetterList,
  LetterSelection,
  RedriveReport,
  Rehearsal,
} from '../core/dead-letter.ts';
import { fail } from '../core/errors.ts';
import type { DeadLetter } from '../core/ports.ts';
import { askInstance } from './instance.ts';

/** What an instance takes on in one request. */
const PER_REQUEST = 1_000;
const MAX_PER_REQUEST = 10_000;
/** A request is answered when it is done, milliseconds. */
const TIMEOUT_MS = 290_000;

/** The office of a running instance, by its address: for whoever reaches its API and not its Redis. */
export function createRemoteOffice(url: string, tokens: readonly string[]): DeadLetterOffice {
  const ask = async <Answer>(path: string, body?: object): Promise<Answer> => {
    const answer = await askInstance(url, `/v1/dead-letters${path}`, tokens, {
      timeoutMs: TIMEOUT_MS,
      ...(body !== undefined && { body }),
    });
    if (answer.kind === 'nobody') throw fail('E_UNREACHABLE', { what: url, reason: answer.reason });
    return JSON.parse(answer.text) as Answer;
  };

  return {
    list(selection, limit) {
      const asked = Object.entries({
        ...selectOf(selection),
        limit: Math.max(1, Math.min(limit, MAX_PER_REQUEST)),
      });
      const search = new URLSearchParams();
      for (const [name, value] of asked) search.set(name, String(value));
      return ask<LetterList>(`?${search.toString()}`);
    },
    async show(message) {
      const { letters } = await ask<{ readonly letters: readonly DeadLetter[] }>(
        `/${encodeURIComponent(message)}`,
      );
      return letters;
    },
    rehearse: (selection, { force, limit, perSecond }) =>
      ask<Rehearsal>('/redrive', {
        select: selectOf(selection),
        dryRun: true,
        force,
        perSecond,
        limit: Math.min(limit, MAX_PER_REQUEST),
      }),
    async redrive(selection, { by, reason, force, perSecond, limit, signal, onProgress }) {
      let sum: RedriveReport | undefined;
      for (let left = limit; left > 0; ) {
        const report: RedriveReport = await ask('/redrive', {
          select: selectOf(selection),
          by,
          reason,
          force,
          perSecond,
          limit: Math.min(left, PER_REQUEST),
        });
        sum = added(sum, report);
        left -= report.redriven;
        onProgress?.(sum.redriven, sum.selected);
        if (report.remaining === 0 || report.redriven === 0) return sum;
        if (signal?.aborted === true) return { ...sum, isInterrupted: true };
        // What was forced once would be forced again while it is under way.
        if (force) return sum;
      }
      return sum ?? nothingDone();
    },
    async discard(selection, { by, reason, force, limit }) {
      let sum: DiscardReport | undefined;
      for (let left = limit; left > 0; ) {
        const report: DiscardReport = await ask('/discard', {
          select: selectOf(selection),
          by,
          reason,
          force,
          limit: Math.min(left, PER_REQUEST),
        });
        sum = {
          ...report,
          selected: sum?.selected ?? report.selected,
          discarded: (sum?.discarded ?? 0) + report.discarded,
          gone: (sum?.gone ?? 0) + report.gone,
        };
        left -= report.discarded;
        if (report.remaining === 0 || report.discarded === 0) break;
      }
      return sum ?? { selected: 0, discarded: 0, underWay: 0, gone: 0, remaining: 0 };
    },
    close: async () => undefined,
  };
}

function selectOf({ sinceMs, untilMs, ...selection }: LetterSelection): Record<string, string | number> {
  return {
    ...selection,
    ...(sinceMs !== undefined && { since: Math.floor(sinceMs) }),
    ...(untilMs !== undefined && { until: Math.floor(untilMs) }),
  };
}

/** What was under way or at its limit is so in each report; the last one knows best. */
function added(sum: RedriveReport | undefined, report: RedriveReport): RedriveReport {
  if (sum === undefined) return report;
  return {
    ...report,
    selected: sum.selected,
    redriven: sum.redriven + report.redriven,
    underWay: sum.underWay,
    gone: sum.gone + report.gone,
  };
}

function nothingDone(): RedriveReport {
  return { selected: 0, redriven: 0, underWay: 0, atLimit: 0, gone: 0, remaining: 0, isInterrupted: false };
}
