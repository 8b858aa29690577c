import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { listenOnLoopback } from './loopback.ts';

/**
 * How the source answers: well, late, with an error, with something that is not JSON, with half a body, with a redirect,
 * with far too many bytes, with records of other ids, with every second record missing, or with none at all.
 */
export type SourceMode =
  | 'ok'
  | 'slow'
  | '500'
  | 'garbage'
  | 'truncated'
  | 'redirect'
  | 'huge'
  | 'wrongIds'
  | 'halfMissing'
  | 'notFound';

export interface HttpSourceOptions {
  readonly port?: number;
  /** How late `slow` answers. @defaultValue 1_000 */
  readonly slowMs?: number;
  /** Latency of every answer. @defaultValue 0 */
  readonly latencyMs?: number;
  /** Size of a `huge` body. @defaultValue 67_108_864 */
  readonly hugeBytes?: number;
  /** Where `redirect` points. @defaultValue the address of a cloud's metadata service, which no client may follow */
  readonly redirectTo?: string;
}

/** A source of truth for tests and the demo: `GET /shops/:id` and `GET /shops?ids=1,2,3` → `{"data":[…]}`. */
export interface HttpSource {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly port: number;
  put(id: string, record: object): void;
  /** Like `put`, with the bytes as given: numbers beyond 2^53, invalid JSON, odd spacing. */
  putText(id: string, json: string): void;
  delete(id: string): void;
  /** The way everything, or one id, is answered from now on; a mode of an id's own wins over `ok`. */
  setMode(mode: SourceMode, id?: string): void;
  /** The next `count` requests are answered with this status. */
  failNext(count: number, status?: number): void;
  /** Requests so far. */
  requests(): number;
  /** Most requests in progress at one time. */
  maxConcurrency(): number;
  /** How often this id was asked for, alone or in a batch. */
  fetches(id: string): number;
  resetCounts(): void;
  stop(): Promise<void>;
}

const METADATA_SERVICE = 'http://169.254.169.254/latest/meta-data/';

/** Starts the source on loopback. */
export async function startHttpSource(options: HttpSourceOptions = {}): Promise<HttpSource> {
  const {
    slowMs = 1_000,
    latencyMs = 0,
    hugeBytes = 64 * 1_024 * 1_024,
    redirectTo = METADATA_SERVICE,
  } = options;
  const records = new Map<string, string>();
  const modes = new Map<string, SourceMode>();
  const fetches = new Map<string, number>();
  const closing = new AbortController();
  let globalMode: SourceMode = 'ok';
  let counts = { requests: 0, open: 0, maxOpen: 0 };
  let failures = { left: 0, status: 500 };

  /** A batch is answered in one way: its own mode, else that of the first id which asks for more than to be missing. */
  const modeOf = (ids: readonly string[]): SourceMode => {
    if (globalMode !== 'ok') return globalMode;
    const own = ids.map((id) => modes.get(id) ?? 'ok');
    return (ids.length === 1 ? own[0] : own.find((mode) => mode !== 'ok' && mode !== 'notFound')) ?? 'ok';
  };

  const answer = async (
    ids: readonly string[],
    isBatch: boolean,
    response: ServerResponse,
  ): Promise<void> => {
    const mode = modeOf(ids);
    const waitMs = latencyMs + (mode === 'slow' ? slowMs : 0);
    if (waitMs > 0) await delay(waitMs, undefined, { signal: closing.signal });
    if (failures.left > 0) {
      failures.left -= 1;
      return send(response, failures.status, '{"error":"failNext"}');
    }
    if (mode === '500') return send(response, 500, '{"error":"mode 500"}');
    if (mode === 'garbage') return send(response, 200, '<html>this is not JSON</html>');
    if (mode === 'redirect') return void response.writeHead(302, { location: redirectTo }).end();
    if (mode === 'huge') return sendHuge(response, hugeBytes);
    const isThere = (id: string, index: number): boolean =>
      mode !== 'notFound' &&
      modes.get(id) !== 'notFound' &&
      !(mode === 'halfMissing' && (isBatch ? index % 2 === 1 : isOdd(id)));
    const found = ids.filter(isThere).flatMap((id) => records.get(id) ?? []);
    const sent = mode === 'wrongIds' ? found.map(withOtherId) : found;
    const body = isBatch ? `{"data":[${sent.join(',')}]}` : sent[0];
    if (body === undefined) return send(response, 404, '{"error":"not found"}');
    if (mode === 'truncated') return sendHalf(response, body);
    return send(response, 200, body);
  };

  const server = createServer((request, response) => {
    const wanted = idsOf(request);
    if (wanted === undefined) return send(response, 404, '{"error":"no such path"}');
    counts.requests += 1;
    counts.open += 1;
    counts.maxOpen = Math.max(counts.maxOpen, counts.open);
    response.once('close', () => (counts.open -= 1));
    for (const id of wanted.ids) fetches.set(id, (fetches.get(id) ?? 0) + 1);
    answer(wanted.ids, wanted.isBatch, response).catch(() => response.destroy());
  });
  const port = await listenOnLoopback(server, options.port);

  return {
    url: `http://127.0.0.1:${port}`,
    port,
    put: (id, record) => void records.set(id, JSON.stringify(record)),
    putText: (id, json) => void records.set(id, json),
    delete: (id) => void records.delete(id),
    setMode(mode, id) {
      if (id === undefined) globalMode = mode;
      else modes.set(id, mode);
    },
    failNext: (count, status = 500) => void (failures = { left: count, status }),
    requests: () => counts.requests,
    maxConcurrency: () => counts.maxOpen,
    fetches: (id) => fetches.get(id) ?? 0,
    resetCounts() {
      counts = { requests: 0, open: counts.open, maxOpen: counts.open };
      fetches.clear();
    },
    stop: () =>
      new Promise((resolve) => {
        closing.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function idsOf(request: IncomingMessage): { ids: string[]; isBatch: boolean } | undefined {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const batch = url.searchParams.get('ids');
  if (url.pathname === '/shops' && batch !== null)
    return { ids: batch.split(',').filter(Boolean), isBatch: true };
  const one = /^\/shops\/([^/]+)$/.exec(url.pathname)?.[1];
  return one === undefined ? undefined : { ids: [decodeURIComponent(one)], isBatch: false };
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(body);
}

/** Promises the whole body and breaks off in the middle. */
function sendHalf(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.write(body.slice(0, Math.ceil(body.length / 2)), () => response.destroy());
}

/** Valid JSON that never seems to end; stops early when the client hangs up. */
function sendHuge(response: ServerResponse, bytes: number): void {
  const part = Buffer.alloc(65_536, 'x');
  let left = bytes;
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"data":[{"id":"');
  const pump = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= part.length;
      if (!response.write(part)) return void response.once('drain', pump);
    }
    response.end('"}]}');
  };
  pump();
}

function isOdd(id: string): boolean {
  return Number.parseInt(id.slice(-1), 10) % 2 === 1;
}

function withOtherId(json: string): string {
  const record: unknown = JSON.parse(json);
  return JSON.stringify(typeof record === 'object' ? { ...record, id: 'somebody-else' } : record);
}
