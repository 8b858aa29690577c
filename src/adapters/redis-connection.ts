/** Connections to Redis: how they are named, how long they wait, and that no failure of theirs shows a password. */
import { Cluster, Redis } from 'ioredis';
import { CachewrightError, fail, reasonOf } from '../core/errors.ts';

export type RedisClient = Redis | Cluster;

export interface RedisOptions {
  /**
   * `redis://user:password@host:port/db`, with TLS `rediss://`. `redis+cluster://` (`rediss+cluster://`) means Redis
   * Cluster, whose seed nodes may be listed with commas: `redis+cluster://10.0.0.1:6379,10.0.0.2:6379`.
   * User and password are percent-encoded.
   */
  readonly url: string;
  /** Shown by Redis' `CLIENT LIST`. */
  readonly name: string;
  /** How long one attempt to connect may take, milliseconds. */
  readonly connectTimeoutMs: number;
  /** How long a command may take, milliseconds; a timed-out write is unknown, not undone. Workers' connections block and have none. */
  readonly commandTimeoutMs: number;
  /** Told about every failure of the connection, by reason; the driver's own error object would carry the password. */
  readonly onError: (reason: string) => void;
}

/** The longest pause between two attempts to reconnect, milliseconds: until one succeeds reads fail and writes wait. */
const MAX_RECONNECT_MS = 500;

/**
 * A connection that fails fast: commands are refused at once while Redis is away, time out, and are not repeated after
 * a lost connection, since whoever sent them repeats them better informed. Wait for it with {@link waitForRedis}.
 *
 * @throws `E_CONFIG_INVALID` when the URL is none
 */
export function connectRedis(options: RedisOptions): RedisClient {
  return connect(options, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: options.commandTimeoutMs,
  });
}

/** A connection as BullMQ's workers need it: blocking commands wait for ever and go on after a reconnect. */
export function connectRedisForWorker(options: RedisOptions): RedisClient {
  return connect(options, { enableOfflineQueue: true, maxRetriesPerRequest: null });
}

interface Patience {
  readonly enableOfflineQueue: boolean;
  readonly maxRetriesPerRequest: number | null;
  readonly commandTimeout?: number;
}

function connect(options: RedisOptions, { enableOfflineQueue, ...patience }: Patience): RedisClient {
  const address = parseRedisUrl(options.url);
  const retryStrategy = (times: number): number =>
    Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 4);
  const shared = {
    ...patience,
    ...(address.username !== '' && { username: address.username }),
    ...(address.password !== '' && { password: address.password }),
    ...(address.isTls && { tls: {} }),
    connectTimeout: options.connectTimeoutMs,
    connectionName: options.name,
  };
  const redis = address.isCluster
    ? new Cluster([...address.hosts], {
        redisOptions: shared,
        enableOfflineQueue,
        clusterRetryStrategy: retryStrategy,
        slotsRefreshTimeout: options.connectTimeoutMs,
      })
    : new Redis({ ...shared, ...address.hosts[0], db: address.db, enableOfflineQueue, retryStrategy });
  redis.on('error', (error: unknown) => options.onError(redisReason(error)));
  return redis;
}

/**
 * Resolves when the connection is ready to take commands.
 *
 * @param what how the refusal names it, without credentials: see {@link describeRedis}
 * @throws `E_UNREACHABLE` with the last reason, after `timeoutMs` or when the connection was closed
 */
export function waitForRedis(
  redis: RedisClient,
  options: { what: string; timeoutMs: number },
): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve();
  if (redis.status === 'end') {
    return Promise.reject(fail('E_UNREACHABLE', { what: options.what, reason: 'the connection was closed' }));
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let reason = `no answer within ${options.timeoutMs} ms`;
  const unreachable = (): void => reject(fail('E_UNREACHABLE', { what: options.what, reason }));
  const failed = (error: unknown): void => {
    reason = redisReason(error);
  };
  const timer = setTimeout(unreachable, options.timeoutMs);
  redis.on('error', failed).on('node error', failed).once('ready', resolve).once('end', unreachable);
  return promise.finally(() => {
    clearTimeout(timer);
    redis.off('error', failed).off('node error', failed).off('ready', resolve).off('end', unreachable);
  });
}

/** Whether commands are taken now. A cluster's connection says `connect` for long stretches in which it works. */
export function isUsable(redis: RedisClient): boolean {
  return redis.status === 'ready' || (redis instanceof Cluster && redis.status === 'connect');
}

/** The server itself, or all masters of a cluster. */
export function mastersOf(redis: RedisClient): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes('master') : [redis];
}

/** The address without credentials: `Redis at 127.0.0.1:6379`. */
export function describeRedis(url: string): string {
  const { hosts, isCluster } = parseRedisUrl(url);
  return `${isCluster ? 'Redis Cluster' : 'Redis'} at ${hosts.map(({ host, port }) => `${host}:${port}`).join(', ')}`;
}

/**
 * Why a command or a connection failed, in one line. The driver's error object stays behind: it carries the command's
 * arguments, which may be a password or a thousand records.
 */
export function redisReason(thrown: unknown): string {
  if (thrown instanceof CachewrightError) return thrown.message;
  if (!(thrown instanceof Error)) return reasonOf(thrown);
  if ('lastNodeError' in thrown && thrown.lastNodeError instanceof Error)
    return redisReason(thrown.lastNodeError);
  if (thrown.name === 'MaxRetriesPerRequestError') return 'the connection was lost before Redis answered';
  if (thrown.message.includes('enableOfflineQueue')) return 'not connected';
  return reasonOf(thrown);
}

interface Address {
  readonly isCluster: boolean;
  readonly isTls: boolean;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly username: string;
  readonly password: string;
  readonly db: number;
}

const DEFAULT_PORT = 6379;

function parseRedisUrl(url: string): Address {
  const parts = /^redis(s?)(\+cluster)?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/(\d*))?$/.exec(url);
  const hosts = (parts?.[4] ?? '').split(',').map(parseHost);
  if (parts === null || (hosts.length > 1 && parts[2] === undefined)) throw notARedisUrl();
  const [username = '', password = ''] = (parts[3] ?? '').split(':', 2).map(decode);
  return {
    isCluster: parts[2] !== undefined,
    isTls: parts[1] === 's',
    hosts,
    username,
    password,
    db: Number(parts[5] ?? 0),
  };
}

function parseHost(text: string): { host: string; port: number } {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/.exec(text.trim());
  if (parts === null) throw notARedisUrl();
  return { host: (parts[1] ?? '').replace(/^\[|\]$/g, ''), port: Number(parts[2] ?? DEFAULT_PORT) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw notARedisUrl();
  }
}

/** Never names the URL: it may hold a password. */
function notARedisUrl(): CachewrightError {
  return fail('E_CONFIG_INVALID', {
    count: 1,
    problems:
      'The Redis URL is not of the form redis://user:password@host:port/db or redis+cluster://host:port,host:port (rediss… for TLS; user and password percent-encoded).',
  });
}
