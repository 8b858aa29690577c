import type { Run } from './command.ts';
import { openInput } from './input.ts';
import { openFileIngest } from './open-file-ingest.ts';
import { EXIT, print, say } from './output.ts';
import { createProgress } from './progress.ts';
import { loadSettings } from './settings.ts';
import { withRedis } from '../app/with-redis.ts';

/** `cachewright ingest`: puts the lines of a file into the queue, each once. An interrupt leaves it ready to be resumed. */
export const ingestCommand: Run<{ readonly again: boolean }> = async (options, [file = '-']) => {
  const { config } = await loadSettings(options);
  const input = await openInput(file);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal);
  const progress = createProgress(options.quiet);
  try {
    return await withRedis(config.redis.url, config.redis.commandTimeoutMs, async (redis) => {
      const { ingest, close } = openFileIngest(config, redis);
      try {
        const report = await ingest(input, {
          again: options.again,
          signal: interrupt.signal,
          onProgress: ({ bytes, messages, waitsFor }) =>
            progress.show(bytes / Math.max(1, input.bytes), messages, waitsFor),
          onWait: (reason) => say(`waiting: ${reason}`, options.quiet),
        });
        progress.clear();
        if (options.json) print(JSON.stringify({ ...report, stream: input.stream }));
        else print(`${input.stream} ${report.messages} message(s)`);
        if (report.isResumed) say(`lines up to ${report.skippedTo} were in the queue before`, options.quiet);
        if (report.end === 'known')
          say('this content was ingested before; --again repeats it', options.quiet);
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
