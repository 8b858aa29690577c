import type { Config } from '../config/schema.ts';
import { type CachewrightError, fail, reasonOf } from '../core/errors.ts';

/** How long an instance may take to answer, milliseconds: a busy one is asked for little. */
const TIMEOUT_MS = 5_000;

export type InstanceAnswer =
  | { readonly kind: 'answered'; readonly headers: Headers; readonly text: string }
  /** No Cachewright answers there. */
  | { readonly kind: 'nobody'; readonly reason: string };

/** Where the instance of this configuration answers; undefined when it cannot be known (port 0: any free one). */
export function instanceUrl({ http }: Pick<Config, 'http'>, given: string | undefined): string | undefined {
  if (given !== undefined) return given;
  if (http.port === 0) return undefined;
  const host = http.host === '0.0.0.0' || http.host === '::' ? '127.0.0.1' : http.host;
  return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${http.port}`;
}

/**
 * Asks a running instance; with a body it is a POST.
 *
 * @param body what is posted; without one it is a question
 * @throws `E_NOT_FOUND`, `E_REQUEST_INVALID`, `E_UNAUTHORIZED`, or `E_UNREACHABLE` for what the instance itself cannot reach
 */
export async function askInstance(
  url: string | undefined,
  path: string,
  tokens: readonly string[],
  { body, timeoutMs = TIMEOUT_MS }: { readonly body?: object; readonly timeoutMs?: number } = {},
): Promise<InstanceAnswer> {
  if (url === undefined) return { kind: 'nobody', reason: 'its port is not known' };
  const [token] = tokens;
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}${path}`, {
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (thrown) {
    const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
    return { kind: 'nobody', reason: reasonOf(cause) };
  }
  if (response.ok) return { kind: 'answered', headers: response.headers, text };
  const problem = problemOf(text);
  if (problem === undefined)
    return { kind: 'nobody', reason: `what answers there is no Cachewright (status ${response.status})` };
  throw errorOf(url, response.status, problem);
}

interface Problem {
  readonly title: string;
  readonly detail: string;
}

/** The `application/problem+json` of our own API. */
function problemOf(text: string): Problem | undefined {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body !== 'object' || body === null || !('title' in body) || !('detail' in body))
      return undefined;
    const [title, detail] = [String(body.title), String(body.detail)];
    return title.startsWith('E_') ? { title, detail } : undefined;
  } catch {
    return undefined;
  }
}

function errorOf(url: string, status: number, { title, detail }: Problem): CachewrightError {
  if (title === 'E_NOT_FOUND') return fail('E_NOT_FOUND', { what: detail.replace(/ is not there\.$/, '') });
  if (title === 'E_UNAUTHORIZED') return fail('E_UNAUTHORIZED');
  // What the instance refuses was asked for wrongly; its own words say what to do.
  if (status === 400 || title === 'E_REDRIVE_LIMIT') return fail('E_USAGE', { reason: detail });
  if (status === 503)
    return fail('E_UNREACHABLE', { what: `What ${url} needs`, reason: `${title}: ${detail}` });
  return fail('E_UNEXPECTED', { what: `${url} answered ${status} ${title}: ${detail}` });
}
