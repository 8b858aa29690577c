import { onTestFinished } from 'vitest';
import { compileServices } from '../../src/app/services.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { FetchOutcome } from '../../src/core/ports.ts';
import type { Service } from '../../src/core/service.ts';
import { uniqueName } from './servers/shared.ts';

/** Sent with every request of {@link shopService}; nothing that is written may hold it. */
export const SECRET = 'Bearer not-for-the-log';

interface Given {
  /** Instead of the HTTP source, when it has a `type`; else beside its options. */
  readonly source?: object;
  readonly service?: object;
  readonly worker?: object;
}

/** A fetched service as a configuration composes it, under keys of its own; its source is closed when the test ends. */
export function shopService(
  name: string,
  url: string,
  { source = {}, service, worker }: Given = {},
): Service {
  const http = {
    type: 'http',
    url: `${url}/shops/{id}`,
    headers: { authorization: SECRET },
    batch: { url: `${url}/shops?ids={ids}`, items: '/data' },
    ...source,
  };
  const input = {
    ...(worker !== undefined && { worker }),
    services: {
      [name]: {
        key: `${uniqueName(name)}:{id}`,
        version: { from: 'record', field: 'version', kind: 'counter' },
        retry: { initialMs: 100, maxMs: 200 },
        source: 'type' in source ? source : http,
        ...service,
      },
    },
  } as ConfigInput;
  const compiled = compileServices(resolveConfig({ input, env: {} }).config, systemClock()).get(name);
  if (compiled === undefined) throw new Error(`${name} was not compiled`);
  onTestFinished(() => compiled.source.close());
  return compiled;
}

/** Asks a service's source for ids. */
export function ask(service: Service, ids: readonly string[]): Promise<FetchOutcome[]> {
  return service.source.fetchMany(
    ids.map((id) => ({ id })),
    new AbortController().signal,
  );
}

/** What each outcome is, or the code of its error. */
export function codes(outcomes: readonly FetchOutcome[]): string[] {
  return outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error.code : outcome.kind));
}
