import { withRedis } from '../app/with-redis.ts';
import type { Config } from '../config/schema.ts';
import type { FileIngestReport } from './file-ingest.ts';
import type { Input } from './input.ts';
import { type FileIngestPace, openFileIngest } from './open-file-ingest.ts';
import { EXIT, print, say } from './output.ts';
import { createProgress } from './progress.ts';

export interface HandOverOptions {
  readonly again: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  /** @param signal fires at an interrupt */
  readonly pace?: (signal: AbortSignal) => FileIngestPace;
  /** Told once for each pause. */
  readonly onWait?: (reason: string) => void;
}

/** What is said at the end, in the words of the command. */
export interface HandOverWords {
  readonly done: (report: FileIngestReport) => string;
  /** Beside the report, with `--json`. */
  readonly fields?: object;
  readonly resumed: (report: FileIngestReport) => string;
  readonly known: string;
}

/**
 * Puts the lines of an input into the queue, each once, and closes it. An interrupt leaves it ready to be resumed.
 *
 * @returns the exit code
 */
export async function handOver(
  config: Config,
  input: Input,
  { again, json, quiet, pace, onWait = () => undefined }: HandOverOptions,
  words: HandOverWords,
): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal);
  const progress = createProgress(quiet);
  try {
    const report = await withRedis(config.redis.url, config.redis.commandTimeoutMs, async (redis) => {
      const { ingest, close } = openFileIngest(config, redis, pace?.(interrupt.signal));
      try {
        return await ingest(input, {
          again,
          signal: interrupt.signal,
          onProgress: ({ bytes, messages, waitsFor }) =>
            progress.show(bytes / Math.max(1, input.bytes), messages, waitsFor),
          onWait,
        });
      } finally {
        progress.clear();
        await close();
      }
    });
    if (json) print(JSON.stringify({ ...report, stream: input.stream, ...words.fields }));
    else print(words.done(report));
    if (report.isResumed) say(words.resumed(report), quiet);
    if (report.end === 'known') say(words.known, quiet);
    if (report.end !== 'interrupted') return EXIT.ok;
    say('interrupted: the same command goes on from here');
    return EXIT.interrupted;
  } finally {
    process.off('SIGINT', onSignal);
    await input.close();
  }
}
