import { type App, createApp } from '../app/app.ts';
import { asError } from '../core/errors.ts';
import { within } from '../core/within.ts';
import type { GlobalOptions, Run } from './command.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings, type SettingFlags } from './settings.ts';

/** What closing may take beyond the workers' grace, milliseconds: leaving the group, flushing the audit. */
const CLOSING_MS = 15_000;

const codes = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated } as const;
type StopSignal = keyof typeof codes;

/**
 * `cachewright start`: runs until a signal, then drains. Ends with 0 when it could, with 143 or 130 when the time was
 * not enough or a second signal came.
 */
export const startCommand: Run<SettingFlags> = async (options) => {
  const { config } = await loadSettings(options);
  const stopped = firstSignal();
  const app = createApp(config);
  const started = app.start();
  started.catch(() => undefined);
  /** Its failure counts as an end. */
  const close = (graceMs?: number): Promise<void> => app.close(graceMs).catch(() => undefined);
  try {
    const early = await Promise.race([started, stopped]);
    if (early === undefined) announce(app, options);
  } catch (thrown) {
    await within(close(0), CLOSING_MS);
    throw asError(thrown);
  }
  const signal = await stopped;
  say(`${signal}: draining; a second signal ends at once`, options.quiet);
  const isDrained = await within(close(), config.worker.shutdownGraceMs + CLOSING_MS);
  if (!isDrained) process.exit(codes[signal]);
  say('drained', options.quiet);
  return EXIT.ok;
};

/** Resolves at the first signal; the second ends the process at once. */
function firstSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    let isStopping = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (isStopping) process.exit(codes[signal]);
        isStopping = true;
        resolve(signal);
      });
    }
  });
}

function announce(app: App, options: GlobalOptions): void {
  const { config, instance } = app.parts;
  const { url } = app;
  if (options.json) print(JSON.stringify({ ready: true, instance, roles: config.roles, url }));
  say(`ready: ${instance} (${config.roles.join(', ')})`, options.quiet);
  if (url === '') return;
  say(`  health  ${url}/readyz`, options.quiet);
  say(`  queues  ${url}/queues`, options.quiet);
  const [service] = Object.keys(config.services);
  if (service !== undefined) {
    say(`  records ${url}/v1/records/${encodeURIComponent(service)}/{id}`, options.quiet);
    say(`  trail   ${url}/v1/trail?service=${encodeURIComponent(service)}&id={id}`, options.quiet);
  }
}
