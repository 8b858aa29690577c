import { idsOfQuery } from '../adapters/postgres-ids.ts';
import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';
import { refuseUnreadable } from '../ingest/admin.ts';
import { adminService } from './admin.ts';
import type { Run } from './command.ts';
import { handOver } from './hand-over.ts';
import { idsOfFile, openIds } from './ids-input.ts';
import type { FileIngestPace } from './open-file-ingest.ts';
import { paced } from './paced.ts';
import { loadSettings } from './settings.ts';

interface WarmOptions {
  readonly ids?: string;
  readonly query?: string;
  readonly perSecond: number;
  readonly again: boolean;
}

/** Messages of one job: few, so that live changes never wait behind a large one. */
const MAX_MESSAGES = 100;

/** `cachewright warm`: refreshes many records, as fast as asked for and only while the queue has room. */
export const warmCommand: Run<WarmOptions> = async (options, [service = '']) => {
  if ((options.ids === undefined) === (options.query === undefined))
    throw fail('E_USAGE', { reason: 'Say which records: --ids FILE, or --query SQL.' });
  const { config } = await loadSettings(options);
  refuseUnreadable(adminService(config, service));
  const input = await openIds(service, idsOf(config, service, options));
  const pace = (signal: AbortSignal): FileIngestPace => ({
    maxMessages: Math.min(MAX_MESSAGES, options.perSecond),
    // Half of what one worker has in hand: whatever is live finds a free place.
    jobs: { high: Math.max(2, Math.floor(config.queue.concurrency / 2)), low: 1 },
    // A look for every job: what one look serves for is a dozen jobs too many at 5,000 records a second.
    lookEveryMs: 0,
    paced: (submit, clock) => paced(submit, options.perSecond, clock, signal),
  });
  return handOver(
    config,
    input,
    { ...options, pace },
    {
      done: ({ messages }) => `${input.stream} ${messages} of ${input.ids} record(s) asked for`,
      fields: { ids: input.ids },
      resumed: ({ skippedTo }) => `the first ${skippedTo} were asked for before`,
      known: 'these ids were warmed before; --again repeats it',
    },
  );
};

function idsOf(config: Config, service: string, { ids, query = '' }: WarmOptions): AsyncIterable<string> {
  if (ids !== undefined) return idsOfFile(ids);
  const source = config.services[service]?.source;
  if (source?.type === 'postgres') return idsOfQuery(source.url, query);
  throw fail('E_USAGE', {
    reason: `--query asks the database of the service, and ${service} has a source of type "${source?.type}"; give --ids.`,
  });
}
