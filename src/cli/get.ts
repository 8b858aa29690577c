import { createRedisTierView } from '../adapters/redis-tier.ts';
import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';
import { decodeFence } from '../core/fence.ts';
import { compileKeyTemplate } from '../core/key.ts';
import { describeVersion, formatVersion, parseVersion } from '../core/version.ts';
import type { Run } from './command.ts';
import { askInstance, instanceUrl } from './instance.ts';
import { dim, EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';
import { withRedis } from '../app/with-redis.ts';

/** A record as one of the tiers has it. */
interface Found {
  /** Byte for byte. */
  readonly text: string;
  /** `kind:digits`; '' when no fence is known. */
  readonly version: string;
  readonly tier: string;
  /** Since the tier took it, seconds; undefined where it does not tell. */
  readonly ageSeconds: number | undefined;
  /** Who answered: an address, or `redis`. */
  readonly from: string;
  /** The instance that answered has lost sight of the changes of others. */
  readonly isBlind: boolean;
}

/** `cachewright get SERVICE ID`: the record on stdout, what is known about it on stderr. */
export const getCommand: Run<object> = async (options, [service = '', id = '']) => {
  const { config } = await loadSettings(options);
  const url = instanceUrl(config, options.url);
  const path = `/v1/records/${encodeURIComponent(service)}/${encodeURIComponent(id)}`;
  const answer = await askInstance(url, path, config.http.tokens);
  let found: Found;
  if (answer.kind === 'answered') {
    found = foundByInstance(answer.headers, answer.text, url ?? '');
  } else {
    say(`no instance answers at ${url ?? 'http.port 0'} (${answer.reason}): asking Redis`, options.quiet);
    found = await foundInRedis(config, service, id);
  }
  if (options.json) print(jsonOf(service, id, found));
  else {
    print(found.text);
    say(dim(describe(found)), options.quiet);
  }
  return EXIT.ok;
};

function foundByInstance(headers: Headers, text: string, from: string): Found {
  const age = headers.get('age');
  return {
    text,
    version: headers.get('x-version') ?? '',
    tier: headers.get('x-cache') ?? '',
    ageSeconds: age === null ? undefined : Number(age),
    from,
    isBlind: headers.get('cache-status')?.includes('detail=blind') ?? false,
  };
}

async function foundInRedis({ redis: at, services }: Config, service: string, id: string): Promise<Found> {
  const configured = services[service];
  if (configured === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
  const key = compileKeyTemplate(configured.key)(id);
  const [stored] = await withRedis(at.cache.url, at.commandTimeoutMs, (redis) =>
    createRedisTierView(redis).read([key]),
  );
  if (stored === undefined || stored === null) throw fail('E_NOT_FOUND', { what: `${service} ${id}` });
  const version = stored.fence === null ? null : (decodeFence(stored.fence)?.version ?? null);
  return {
    text: stored.text,
    version: version === null ? '' : formatVersion(version),
    tier: 'redis',
    ageSeconds: undefined,
    from: 'redis',
    isBlind: false,
  };
}

function describe({ version, tier, ageSeconds, from, isBlind }: Found): string {
  const parsed = parseVersion(version);
  const shown = parsed === null ? 'not known' : `${version} (${describeVersion(parsed)})`;
  const age = ageSeconds === undefined ? 'not known' : `${ageSeconds} s`;
  return `version ${shown} · tier ${tier} · age ${age} · from ${from}${isBlind ? ', which is blind to the changes of others' : ''}`;
}

/** The record's own text stands in it unchanged, so that no number is altered. */
function jsonOf(service: string, id: string, { text, isBlind, ...found }: Found): string {
  const fields = { service, id, ...found, blind: isBlind, ageSeconds: found.ageSeconds ?? null };
  return `${JSON.stringify(fields).slice(0, -1)},"value":${isJson(text) ? text : JSON.stringify(text)}}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
