import { idsOfQuery } from '../adapters/postgres-ids.ts';
import { withRedis } from '../app/with-redis.ts';
import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import { refuseUnreadable } from '../ingest/admin.ts';
import type { Submit } from '../ingest/submit.ts';
import { adminService } from './admin.ts';
import type { Run } from './command.ts';
import { idsOfFile, openIds } from './ids-input.ts';
import { openFileIngest } from './open-file-ingest.ts';
import { EXIT, print, say } from './output.ts';
import { createProgress } from './progress.ts';
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
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal);
  const progress = createProgress(options.quiet);
  try {
    return await withRedis(config.redis.url, config.redis.commandTimeoutMs, async (redis) => {
      const { ingest, close } = openFileIngest(config, redis, {
        maxMessages: Math.min(MAX_MESSAGES, options.perSecond),
        // Half of what one worker has in hand: whatever is live finds a free place.
        jobs: { high: Math.max(2, Math.floor(config.queue.concurrency / 2)), low: 1 },
        paced: (submit, clock) => paced(submit, options.perSecond, clock, interrupt.signal),
      });
      try {
        const report = await ingest(input, {
          again: options.again,
          signal: interrupt.signal,
          onProgress: ({ bytes, messages, waitsFor }) =>
            progress.show(bytes / Math.max(1, input.bytes), messages, waitsFor),
          onWait: () => undefined,
        });
        progress.clear();
        if (options.json) print(JSON.stringify({ ...report, stream: input.stream, ids: input.ids }));
        else print(`${input.stream} ${report.messages} of ${input.ids} record(s) asked for`);
        if (report.isResumed) say(`the first ${report.skippedTo} were asked for before`, options.quiet);
        if (report.end === 'known') say('these ids were warmed before; --again repeats it', options.quiet);
        if (report.end !== 'interrupted') return EXIT.ok;
        say('interrupted: the same command goes on from here');
        return EXIT.interrupted;
      } finally {
        progress.clear();
        await close();
      }
    });
  } finally {
    process.off('SIGINT', onSignal);
    await input.close();
  }
};

function idsOf(config: Config, service: string, { ids, query = '' }: WarmOptions): AsyncIterable<string> {
  if (ids !== undefined) return idsOfFile(ids);
  const source = config.services[service]?.source;
  if (source?.type === 'postgres') return idsOfQuery(source.url, query);
  throw fail('E_USAGE', {
    reason: `--query asks the database of the service, and ${service} has a source of type "${source?.type}"; give --ids.`,
  });
}

/** Lets so many messages a second pass; what is in time after a pause does not catch up. */
function paced(submit: Submit, perSecond: number, clock: Clock, signal: AbortSignal): Submit {
  let nextMs = 0;
  return async (messages, to) => {
    const waitMs = nextMs - clock.now();
    if (waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined);
    nextMs = Math.max(nextMs, clock.now()) + (messages.length / perSecond) * 1_000;
    return submit(messages, to);
  };
}
