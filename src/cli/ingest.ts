import type { Run } from './command.ts';
import { handOver } from './hand-over.ts';
import { openInput } from './input.ts';
import { say } from './output.ts';
import { loadSettings } from './settings.ts';

/** `cachewright ingest`: puts the lines of a file into the queue, each once. An interrupt leaves it ready to be resumed. */
export const ingestCommand: Run<{ readonly again: boolean }> = async (options, [file = '-']) => {
  const { config } = await loadSettings(options);
  const input = await openInput(file);
  const onWait = (reason: string): void => say(`waiting: ${reason}`, options.quiet);
  return handOver(
    config,
    input,
    { ...options, onWait },
    {
      done: ({ messages }) => `${input.stream} ${messages} message(s)`,
      resumed: ({ skippedTo }) => `lines up to ${skippedTo} were in the queue before`,
      known: 'this content was ingested before; --again repeats it',
    },
  );
};
