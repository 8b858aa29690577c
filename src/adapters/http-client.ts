import { Agent, buildConnector, type Dispatcher, request } from 'undici';
import type { CallGate } from './call-gate.ts';
import { CachewrightError, fail, reasonOf } from '../core/errors.ts';

export interface HttpClientOptions {
  readonly service: string;
  /** The configured addresses: these hosts are asked, and no others but `allowRedirectsTo`. */
  readonly urls: readonly string[];
  /** Sent with every request, redirected ones too. Values are secrets: they are never logged or put into an error. */
  readonly headers: Readonly<Record<string, string>>;
  /** `host` (at the scheme's own port) or `host:port`. A redirect to the configured host has to be listed, too. */
  readonly allowRedirectsTo: readonly string[];
  readonly maxBytes: number;
  readonly maxConnections: number;
  /** How long connecting may take, milliseconds; the whole request is timed by the gate. */
  readonly timeoutMs: number;
  readonly gate: CallGate;
}

/** GETs JSON texts from the hosts it was made for. */
export interface HttpClient {
  /**
   * The body of a 2xx answer, after at most three redirects.
   *
   * @throws `E_FETCH_FAILED` (with `status` when there was an answer), `E_FETCH_REDIRECTED`, `E_FETCH_TOO_LARGE`,
   *   `E_FETCH_NOT_JSON` (broken off, not UTF-8), and what the gate throws
   */
  get(url: URL, signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

const MAX_REDIRECTS = 3;
/** What is read of an answer that is not used, so that its connection can be: bytes. */
const MAX_DUMPED_BYTES = 65_536;

const utf8 = new TextDecoder('utf-8', { fatal: true });

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { service, gate, maxConnections } = options;
  const mayAsk = hostRule(options);
  const agent = new Agent({
    connections: maxConnections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: guardedConnector(options, mayAsk),
  });
  const headers = { accept: 'application/json', 'accept-encoding': 'identity', ...options.headers };

  async function hop(url: URL, signal: AbortSignal): Promise<string | { readonly location: string }> {
    const response = await send(url, signal);
    const { statusCode, body } = response;
    if (statusCode >= 200 && statusCode < 300) return readText(options, response, signal);
    // Errors of the dump do not matter: the answer is not used, and a broken connection is not used again.
    await body.dump({ limit: MAX_DUMPED_BYTES, signal }).catch(() => undefined);
    const location = headerOf(response, 'location');
    if (statusCode >= 300 && statusCode < 400 && location !== undefined) return { location };
    throw badStatus(service, response);
  }

  async function send(url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    try {
      return await request(url, { dispatcher: agent, headers, signal });
    } catch (thrown) {
      if (thrown instanceof CachewrightError) throw thrown;
      throw fail('E_FETCH_FAILED', { service, reason: reasonOf(thrown), outage: true }, { cause: thrown });
    }
  }

  return {
    async get(url, signal) {
      let at = url;
      for (let redirects = 0; ; redirects += 1) {
        const from = at;
        const answer = await gate.run(signal, (callSignal) => hop(from, callSignal));
        if (typeof answer === 'string') return answer;
        const to = URL.parse(answer.location, from.href);
        const isAllowed = to !== null && redirects < MAX_REDIRECTS && mayAsk.afterRedirect(from, to);
        if (!isAllowed) throw fail('E_FETCH_REDIRECTED', { service, location: plainAddress(to) });
        at = to;
      }
    },
    close: () => agent.destroy(),
  };
}

interface HostRule {
  afterRedirect(from: URL, to: URL): boolean;
  /** For every new connection, whatever led to it. */
  connect(url: URL): boolean;
}

/** The configured hosts may be anything, also in private networks, and resolve to whatever their DNS says. */
function hostRule({ urls, allowRedirectsTo }: HttpClientOptions): HostRule {
  const origins = new Set(urls.map((url) => new URL(url).origin));
  const isListed = (url: URL): boolean =>
    allowRedirectsTo.some((host) => URL.parse(`${url.protocol}//${host}`)?.host === url.host);
  return {
    afterRedirect: (from, to) =>
      (to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:')) && isListed(to),
    connect: (url) => origins.has(url.origin) || isListed(url),
  };
}

/** Looks at the host once more where a connection is made, before its name is resolved: nothing gets around this. */
function guardedConnector({ timeoutMs }: HttpClientOptions, rule: HostRule): buildConnector.connector {
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false });
  return (options, callback) => {
    const host = options.hostname.includes(':') ? `[${options.hostname}]` : options.hostname;
    const url = URL.parse(`${options.protocol}//${host}${options.port === '' ? '' : `:${options.port}`}`);
    if (url !== null && rule.connect(url)) connect(options, callback);
    else callback(new Error(`the host ${options.hostname} is not one of this service`), null);
  };
}

async function readText(
  { service, maxBytes }: HttpClientOptions,
  { body, headers }: Dispatcher.ResponseData,
  signal: AbortSignal,
): Promise<string> {
  const tooLarge = (): CachewrightError => fail('E_FETCH_TOO_LARGE', { service, max: maxBytes });
  const notJson = (reason: string, cause?: unknown): CachewrightError =>
    fail('E_FETCH_NOT_JSON', { service, reason }, { cause });
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
    for await (const part of body as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > maxBytes) throw tooLarge();
      parts.push(part);
    }
  } catch (thrown) {
    body.destroy();
    if (signal.aborted || thrown instanceof CachewrightError) throw thrown;
    throw notJson(`it broke off after ${bytes} bytes (${reasonOf(thrown)})`, thrown);
  }
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    throw notJson(`it is compressed (${String(encoding)})`);
  try {
    return utf8.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts, bytes));
  } catch (thrown) {
    throw notJson('it is not valid UTF-8', thrown);
  }
}

function badStatus(service: string, response: Dispatcher.ResponseData): CachewrightError {
  const { statusCode: status } = response;
  const retryAfter = headerOf(response, 'retry-after') ?? '';
  const asksForPause = (status === 429 || status === 503) && /^\d{1,6}$/.test(retryAfter);
  return fail('E_FETCH_FAILED', {
    service,
    reason: `HTTP ${status}`,
    status,
    ...(status >= 500 ? { outage: true } : {}),
    ...(asksForPause ? { retryAfterMs: Number(retryAfter) * 1_000 } : {}),
  });
}

function headerOf({ headers }: Dispatcher.ResponseData, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** Without user, password and query, which may hold secrets. */
function plainAddress(url: URL | null): string {
  return url === null ? 'no valid address' : `${url.protocol}//${url.host}${url.pathname}`;
}
