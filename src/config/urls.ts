/** What is wrong with an address, as the rest of "… : "; undefined: nothing. Never repeats the address: it may hold a password. */

const REDIS_URL = /^rediss?(\+cluster)?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/(\d*))?$/;
const HOST_PORT = /^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s,]+)(?::(\d{1,5}))?$/;

export const REDIS_URL_FORM =
  'redis://user:password@host:port/db (rediss:// with TLS), or redis+cluster://host:port,host:port for Redis Cluster';

export function checkRedisUrl(url: string): string | undefined {
  const [whole, cluster, credentials = '', hosts = '', db = ''] = REDIS_URL.exec(url) ?? [];
  if (whole === undefined) return `allowed is ${REDIS_URL_FORM}; user and password are percent-encoded`;
  const names = hosts.split(',');
  if (names.length > 1 && cluster === undefined)
    return 'several hosts are for redis+cluster:// and rediss+cluster:// only';
  if (cluster !== undefined && Number(db) !== 0) return 'Redis Cluster has only database 0';
  if (names.some((name) => !isHostPort(name.trim()))) return 'a host is written as host or host:port';
  return isPercentEncoded(credentials) ? undefined : 'user and password have to be percent-encoded';
}

/** `host:port`, or `host` alone where the port has a default. */
export function isHostPort(text: string, needsPort = false): boolean {
  const parts = HOST_PORT.exec(text);
  if (parts === null) return false;
  const port = parts[1];
  return port === undefined ? !needsPort : Number(port) >= 1 && Number(port) <= 65_535;
}

/** `host:port,host:port/chroot`, as Kafka's own `zookeeper.connect`. */
export function checkZookeeper(text: string): string | undefined {
  const slash = text.indexOf('/');
  const hosts = slash === -1 ? text : text.slice(0, slash);
  const chroot = slash === -1 ? '' : text.slice(slash);
  const isFine = hosts.split(',').every((host) => isHostPort(host.trim(), true)) && !/\s|,|\/$/.test(chroot);
  return isFine ? undefined : 'allowed is host:port,host:port/chroot';
}

export function checkAuditUrl(url: string): string | undefined {
  if (/^postgres(ql)?:/.test(url))
    return 'Postgres as audit store is not in this version; use sqlite:./file.db';
  const file = /^sqlite:(.+)$/.exec(url)?.[1];
  if (file === undefined || file === ':memory:')
    return 'allowed is sqlite: and the path of a file, such as sqlite:./cachewright-audit.db';
  return undefined;
}

export function checkPostgresUrl(url: string): string | undefined {
  const isFine = /^postgres(ql)?:\/\//.test(url) && URL.canParse(url);
  return isFine ? undefined : 'allowed is postgres://user:password@host:port/database';
}

/**
 * Ids become whole path segments or whole query values, encoded, so that no id can reach another path or host.
 *
 * @param placeholder `{id}` or `{ids}`
 */
export function checkUrlTemplate(url: string, placeholder: string): string | undefined {
  const [, host = '', path = '', query = ''] = /^https?:\/\/([^/?#]*)([^?#]*)(\?[^#]*)?$/i.exec(url) ?? [];
  if (host === '') return 'allowed is an address that begins with http:// or https:// and has no #fragment';
  if (/[{}]|%7b/i.test(host)) return 'the host must not come from a message: no placeholder is allowed in it';
  if (host.includes('@')) return 'credentials do not belong in the address; send them in `headers`';
  const other = url.match(/\{[^{}]*\}/g)?.find((found) => found !== placeholder);
  if (other !== undefined) return `the placeholder ${other} is not known; only ${placeholder} is`;
  const places = [
    ...path.split('/'),
    ...query
      .slice(1)
      .split('&')
      .map((pair) => pair.slice(pair.indexOf('=') + 1)),
  ];
  const named = places.filter((place) => place.includes(placeholder));
  if (named.length === 0) return `it needs the placeholder ${placeholder}`;
  if (named.some((place) => place !== placeholder))
    return `${placeholder} has to be a whole path segment (/shops/${placeholder}) or a whole query value (?id=${placeholder})`;
  return URL.canParse(url.replaceAll(placeholder, '1')) ? undefined : 'it is no valid address';
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
