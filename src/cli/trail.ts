import { openSqliteAuditReader } from '../adapters/sqlite-audit.ts';
import { formatTrail } from '../audit/trail-text.ts';
import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';
import type { AuditQuery } from '../core/ports.ts';
import type { AuditRecord } from '../core/trail.ts';
import type { Run } from './command.ts';
import { askInstance, instanceUrl } from './instance.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';

interface TrailOptions {
  readonly key?: string;
  readonly message?: string;
  readonly limit: number;
}

/** `cachewright trail`: what happened to a record, a key or a message. */
export const trailCommand: Run<TrailOptions> = async (options, args) => {
  const query = queryOf(options, args);
  const { config } = await loadSettings(options);
  const url = instanceUrl(config, options.url);
  const answer = await askInstance(url, `/v1/trail?${searchOf(query).toString()}`, config.http.tokens);
  let records: readonly AuditRecord[];
  if (answer.kind === 'answered') records = recordsOf(answer.text);
  else {
    say(
      `no instance answers at ${url ?? 'http.port 0'} (${answer.reason}): reading the store`,
      options.quiet,
    );
    records = await recordsInStore(config, query);
  }
  if (options.json) print(JSON.stringify(records, null, 2));
  if (records.length === 0) throw fail('E_NOT_FOUND', { what: `A trail of ${describe(query)}` });
  if (!options.json) print(formatTrail(records));
  return EXIT.ok;
};

function queryOf(
  { key, message, limit }: TrailOptions,
  [service, id, ...more]: readonly string[],
): AuditQuery {
  const asked = [service, key, message].filter((given) => given !== undefined);
  if (asked.length !== 1 || more.length > 0 || (service !== undefined && id === undefined)) {
    throw fail('E_USAGE', { reason: 'Ask for SERVICE ID, or for --key KEY, or for --message ID.' });
  }
  if (key !== undefined) return { key, limit };
  if (message !== undefined) return { message, limit };
  return { service: service ?? '', recordId: id ?? '', limit };
}

/** The query as the API takes it. */
function searchOf({ service, recordId, key, message, limit }: AuditQuery): URLSearchParams {
  return new URLSearchParams({
    ...(service !== undefined && { service }),
    ...(recordId !== undefined && { id: recordId }),
    ...(key !== undefined && { key }),
    ...(message !== undefined && { message }),
    limit: String(limit),
  });
}

function recordsOf(text: string): readonly AuditRecord[] {
  const body = JSON.parse(text) as { readonly trail: readonly AuditRecord[] };
  return body.trail;
}

async function recordsInStore({ audit }: Config, query: AuditQuery): Promise<readonly AuditRecord[]> {
  const reader = openSqliteAuditReader(audit.url.slice('sqlite:'.length));
  try {
    return await reader.find(query);
  } finally {
    await reader.close();
  }
}

function describe({ service, recordId, key, message }: AuditQuery): string {
  if (key !== undefined) return `key ${key}`;
  return message === undefined ? `${service} ${recordId}` : `message ${message}`;
}
