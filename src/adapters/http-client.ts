import { Agent, type Dispatcher, request } from 'undici';
import { fail, reasonOf } from '../core/errors.ts';

export interface HttpClientOptions {
  readonly service: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Largest answer, bytes. */
  readonly maxBytes: number;
  /** `host` or `host:port` a redirect may lead to; none by default. */
  readonly allowRedirectsTo: readonly string[];
  readonly maxConnections: number;
}

export type HttpAnswer =
  | { readonly kind: 'json'; readonly text: string; readonly value: unknown }
  /** 404 or 410. */
  | { readonly kind: 'gone' };

const MAX_REDIRECTS = 3;

/** GET for JSON with everything a stranger's server may do to us in mind. */
export function createHttpClient(options: HttpClientOptions) {
  const { service } = options;
  const agent = new Agent({ connections: options.maxConnections, keepAliveTimeout: 10_000 });

  const get = async (url: URL, signal: AbortSignal, redirects: number): Promise<HttpAnswer> => {
    const answer = await request(url, {
      dispatcher: agent,
      method: 'GET',
      headers: { accept: 'application/json', ...options.headers },
      signal,
    });
    const { statusCode } = answer;
    if (statusCode >= 300 && statusCode < 400 && statusCode !== 304) {
      await answer.body.dump();
      return get(redirectOf(options, url, answer, redirects), signal, redirects + 1);
    }
    if (statusCode === 404 || statusCode === 410) {
      await answer.body.dump();
      return { kind: 'gone' };
    }
    if (statusCode !== 200) {
      await answer.body.dump();
      // 429 and 5xx say that the source is in trouble; another 4xx that it does not like this request.
      const outage = statusCode === 429 || statusCode >= 500;
      throw fail('E_FETCH_FAILED', { service, reason: `status ${statusCode}`, outage });
    }
    return jsonOf(service, await bytesOf(options, answer));
  };

  return {
    /** @throws E_FETCH_FAILED, E_FETCH_REDIRECTED, E_FETCH_TOO_LARGE, E_FETCH_NOT_JSON */
    get: (url: URL, signal: AbortSignal) => get(url, signal, 0),
    close: () => agent.destroy(),
  };
}

/** Follows only to hosts that are listed, every hop checked; headers go along, which is why hosts have to be listed. */
function redirectOf(
  options: HttpClientOptions,
  from: URL,
  answer: Dispatcher.ResponseData,
  redirects: number,
): URL {
  const location = String(answer.headers['location'] ?? '');
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const isListed =
    to !== undefined &&
    ['http:', 'https:'].includes(to.protocol) &&
    options.allowRedirectsTo.some((host) => host === to.host || host === to.hostname);
  if (!isListed || redirects >= MAX_REDIRECTS) {
    throw fail('E_FETCH_REDIRECTED', { service: options.service, location: to?.origin ?? 'nowhere' });
  }
  return to;
}

async function bytesOf(
  { service, maxBytes }: HttpClientOptions,
  answer: Dispatcher.ResponseData,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      answer.body.destroy();
      throw fail('E_FETCH_TOO_LARGE', { service, max: maxBytes });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

function jsonOf(service: string, bytes: Buffer): HttpAnswer {
  try {
    const text = decoder.decode(bytes);
    return { kind: 'json', text, value: JSON.parse(text) as unknown };
  } catch (thrown) {
    throw fail('E_FETCH_NOT_JSON', { service, reason: reasonOf(thrown) }, { cause: thrown });
  }
}
