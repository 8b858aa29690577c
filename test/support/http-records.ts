import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';
import { type HttpSource, type SourceMode, startHttpSource } from './servers/http-source.ts';
import { listenOnLoopback } from './servers/loopback.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createHttpRecords, type HttpRecordsOptions } from '../../src/adapters/http-records.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { FetchOutcome, RecordSource } from '../../src/core/ports.ts';

/** Sent with every request; no error may hold it. */
export const SECRET = 'Bearer sehr-geheim';
/** A signal that does not fire. */
export const never = new AbortController().signal;

export interface Settings {
  readonly http?: Partial<HttpRecordsOptions>;
  readonly guard?: Partial<GuardOptions>;
  readonly batch?: Partial<HttpRecordsOptions['batch']>;
}

/** A guarded HTTP source, closed when the test ends. */
export function sourceAt(url: string, { http, guard, batch }: Settings = {}): RecordSource {
  const limits: GuardOptions = {
    service: 'shopInfoService',
    timeoutMs: 3_000,
    concurrency: 8,
    perSecond: undefined,
    breaker: { failures: 1_000, halfOpenAfterMs: 100 },
    maxAbsentRatio: 1,
    effectTimeoutMs: 100_000,
    clock: systemClock(),
    ...guard,
  };
  const source = guardSource(
    (guarded) =>
      createHttpRecords({
        ...guarded,
        url: `${url}/shops/{id}`,
        headers: { authorization: SECRET },
        allowRedirectsTo: [],
        maxBytes: 100_000,
        batch:
          batch === undefined
            ? undefined
            : {
                url: `${url}/shops?ids={ids}`,
                maxIds: 100,
                items: '/data',
                id: '/id',
                missing: 'ask',
                ...batch,
              },
        ...http,
      }),
    limits,
  );
  onTestFinished(() => source.close());
  return source;
}

/** A source of `count` shops, `0`, `1`, …, stopped when the test ends. */
export async function shops(count: number, mode: SourceMode = 'ok'): Promise<HttpSource> {
  const origin = await startHttpSource({ slowMs: 30_000 });
  onTestFinished(() => origin.stop());
  for (let id = 0; id < count; id += 1) origin.put(String(id), { id: String(id), name: `shop ${id}` });
  origin.setMode(mode);
  return origin;
}

/** A source that answers as the test says. */
export async function scripted(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  const port = await listenOnLoopback(server);
  onTestFinished(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return { url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}`, asked };
}

export const json = (response: ServerResponse, body: string | Buffer, headers = {}): void =>
  void response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body);
export const fetchIds = (source: RecordSource, ...ids: string[]): Promise<FetchOutcome[]> =>
  source.fetchMany(
    ids.map((id) => ({ id })),
    never,
  );
export const codeOf = (outcome: FetchOutcome | undefined): string =>
  outcome?.kind === 'failed' ? outcome.error.code : String(outcome?.kind);
export const codes = (outcomes: readonly FetchOutcome[]): string[] => outcomes.map(codeOf);
export const messageOf = (outcome: FetchOutcome | undefined): string =>
  outcome?.kind === 'failed' ? outcome.error.message : '';
