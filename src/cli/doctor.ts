import { createServer } from 'node:net';
import { checkDependencies } from '../app/doctor-checks.ts';
import { type Finding, found, guarded, ok } from '../app/finding.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { reasonOf } from '../core/errors.ts';
import type { GlobalOptions, Run } from './command.ts';
import { instanceUrl } from './instance.ts';
import { EXIT, green, print, red, say, yellow } from './output.ts';
import { loadSettings } from './settings.ts';
import { silentLog } from './silent-log.ts';

/** `cachewright doctor`: what is wrong with everything the configuration names, and what to do about it. */
export const doctorCommand: Run<object> = async (options) => {
  const { config, file } = await loadSettings(options);
  const findings = [
    ok('configuration', `${file ?? 'no file'}: ${Object.keys(config.services).length} service(s)`),
    ...(await checkDependencies(config, systemClock(), silentLog)),
    ...(await guarded('http', () => checkHttp(config, options))),
  ];
  const isUnreachable = findings.some(({ level }) => level === 'unreachable');
  const isFine = findings.every(({ level }) => level === 'ok');
  if (options.json) print(JSON.stringify({ ok: isFine, findings }, null, 2));
  else for (const finding of findings) print(describe(finding));
  if (isFine) say('Everything is as it should be.', options.quiet);
  if (isUnreachable) return EXIT.unreachable;
  return isFine ? EXIT.ok : EXIT.difference;
};

function describe({ level, check, text, next }: Finding): string {
  const sign = {
    ok: green('✓', process.stdout),
    found: yellow('!', process.stdout),
    unreachable: red('✗', process.stdout),
  };
  const line = `${sign[level]} ${check}: ${text}`;
  return next === '' ? line : `${line}\n    → ${next}`;
}

/** The port is free, or an instance of ours has it. */
async function checkHttp(config: Config, { url: given }: GlobalOptions): Promise<readonly Finding[]> {
  const { http, roles } = config;
  const url = instanceUrl(config, given);
  if (url === undefined) return [ok('http', 'any free port')];
  const missing = await missingOf(url);
  if (missing !== undefined) {
    if (missing.length === 0) return [ok('http', `an instance answers at ${url}, and is ready`)];
    const text = `the instance at ${url} is not ready: ${missing.join(', ')}`;
    return [found('http', text, 'Look at what it misses; it goes on by itself.')];
  }
  if (given !== undefined) {
    return [
      {
        level: 'unreachable',
        check: 'http',
        text: `no instance answers at ${url}`,
        next: 'Start it, or correct --url.',
      },
    ];
  }
  if (!roles.includes('api')) return [ok('http', 'no api role: nothing listens')];
  const trouble = await tryToListen(http.host, http.port);
  if (trouble === '') return [ok('http', `${http.host}:${http.port} is free; no instance runs`)];
  const next = 'Stop what listens there, or choose another `http.port`.';
  return [found('http', `${http.host}:${http.port} cannot be listened on: ${trouble}`, next)];
}

/** What a running instance waits for; undefined when no Cachewright answers. */
async function missingOf(url: string): Promise<readonly string[] | undefined> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(3_000), redirect: 'error' });
    const body: unknown = await response.json();
    if (typeof body !== 'object' || body === null || !('missing' in body)) return undefined;
    return Array.isArray(body.missing) ? body.missing.map(String) : undefined;
  } catch {
    return undefined;
  }
}

/** Why the address cannot be listened on; '' when it can. */
function tryToListen(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(reasonOf(error)));
    server.listen({ host, port }, () => server.close(() => resolve('')));
  });
}
