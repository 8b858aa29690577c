/** The one schema of the configuration. Its parts carry their own documentation; docs/options.md is made from them. */
import { z } from 'zod';
import { kafka } from './kafka.ts';
import { checkedText, duration, integer, list, maybe, oneOf, secret, section, text } from './option.ts';
import { MAX_SHARDS } from '../core/shards.ts';
import { services } from './services.ts';
import { checkAuditUrl, checkRedisUrl, REDIS_URL_FORM } from './urls.ts';

const MIB = 1024 ** 2;
const WEEK_MS = 7 * 86_400_000;

const redisUrl = (doc: string): ReturnType<typeof secret> =>
  secret(doc, { hides: 'password', allowed: REDIS_URL_FORM, problemOf: checkRedisUrl });

const redis = section(
  {
    url: redisUrl(
      'Redis of the queue, the marks and, unless `redis.cache.url` says otherwise, the cache. It needs `maxmemory-policy noeviction` and should have AOF: what is lost here is read again from Kafka.',
    ).prefault('redis://127.0.0.1:6379'),
    cache: section(
      {
        url: maybe(
          redisUrl(
            'Redis of the cache, which may evict. Default: the same as `redis.url`. Moved elsewhere, the cache begins empty.',
          ),
        ),
        onBehind: oneOf(
          ['replay', 'warn'],
          "What to do when a cache's Redis of its own has lost what was written to it (a restored backup, a failover, an emptied server): `replay` reads the messages again that it lost, from Kafka; `warn` tells of it and leaves the cache as it is, so that it serves old records until they change.",
        ).default('replay'),
        logKeys: integer(
          { min: 1_000, max: 10_000_000 },
          'Keys that the invalidation log keeps, at about 60 bytes each. An instance that is further behind empties its local tier and begins anew.',
        ).default(500_000),
      },
      'The second role of Redis.',
    ).prefault({}),
    commandTimeoutMs: duration(
      '50ms',
      '5m',
      "How long a command may take. A timed-out write is unknown, not undone: it is sent again. Shorter than Redis' slowest script makes everything run twice.",
    ).prefault('5s'),
  },
  'Redis: the queue and the shared cache.',
).transform((given) => ({ ...given, cache: { ...given.cache, url: given.cache.url ?? given.url } }));

const queue = section(
  {
    prefix: checkedText(
      'Beginning of every key of the queue. A new one is a new, empty queue: drain the old one first.',
      'letters, digits, "_" and "-", at most 50',
      (value) =>
        /^[A-Za-z0-9_-]{1,50}$/.test(value)
          ? undefined
          : 'allowed are letters, digits, "_" and "-", at most 50',
    ).prefault('cachewright'),
    shards: integer(
      { min: 1, max: MAX_SHARDS },
      'Queues that the partitions are spread over. Each lives in one slot, so with several a Redis Cluster shares their load among its masters; on a single Redis they cost more than they bring. A change needs no stop: a partition whose queue is another now pauses until its jobs in the old one are done (docs/scaling.md).',
    ).default(1),
    concurrency: integer(
      { min: 1, max: 1_000 },
      'Chunks a worker process has in hand at once, divided evenly among the shards, at least one for each. More hides the latency of sources; three are busy at once beside those that wait for one. Each holds up to `queue.maxChunkBytes` and what it fetched in memory.',
    ).default(16),
    maxChunkMessages: integer(
      { min: 1, max: 10_000 },
      'Messages of one job at most. Chunks of 100 cost a third of the speed of chunks of 1,000; from there on little is won, and the process is longer at one job before it looks at anything else.',
    ).default(1_500),
    maxChunkBytes: integer(
      { min: 1024, max: 64 * MIB, unit: 'bytes' },
      'Bytes of messages in one job at most; a larger message is a job of its own.',
    ).default(MIB),
    highWaterJobs: integer(
      { min: 1 },
      "With this many jobs in the queue ingest pauses. Higher: longer bursts are taken, with more of Redis' memory.",
    ).default(2_000),
    lowWaterJobs: integer({ min: 0 }, 'With no more than this many jobs ingest resumes.').default(1_000),
    highWaterBytes: integer(
      { min: 1024, unit: 'bytes' },
      'With about this many bytes of messages in the queue ingest pauses.',
    ).default(256 * MIB),
    lowWaterBytes: integer(
      { min: 0, unit: 'bytes' },
      'With no more than this many bytes ingest resumes.',
    ).default(128 * MIB),
    lockMs: duration(
      '1s',
      '8s',
      'A worker that is silent for so long loses its job. Shorter: jobs of a killed worker are taken up sooner; a blocked event loop loses its jobs sooner. With `queue.stalledIntervalMs` at most 8 s.',
    ).prefault('4s'),
    stalledIntervalMs: duration('500ms', '7s', 'How often lost jobs are looked for.').prefault('3s'),
    keepCompleted: section(
      {
        count: integer({ min: 0, max: 1_000_000 }, 'Finished jobs kept for the queue page, at most.').default(
          1_000,
        ),
        ageMs: duration('0ms', '30d', 'How long finished jobs are kept.').prefault('1h'),
      },
      'What the queue page shows of the past.',
    ).prefault({}),
  },
  'The queue between ingest and workers.',
);

const limits = section(
  {
    maxMessageBytes: integer(
      { min: 1, max: 64 * MIB, unit: 'bytes' },
      'Largest message; larger ones are rejected unread. A message of 27 MB blocks the process for about a second.',
    ).default(MIB),
    maxDepth: integer(
      { min: 1, max: 1_000 },
      'Levels of arrays and objects in a message. Very deep JSON parses and then kills the process.',
    ).default(64),
  },
  'What is refused before it is read.',
);

const local = section(
  {
    maxEntries: integer({ min: 1 }, 'Keys this process keeps in memory at most.').default(100_000),
    maxBytes: integer(
      { min: 1024, unit: 'bytes' },
      'Bytes of them at most, by estimate. Larger than the memory of the process: it is killed.',
    ).default(256 * MIB),
    ttlMs: duration(
      '1ms',
      '30d',
      'Time to live of entries, unless the service says otherwise: how stale a local read may be should an invalidation be missed.',
    ).prefault('5m'),
    blindMs: duration(
      '500ms',
      '10m',
      'An instance that has heard nothing from the invalidation log for so long serves nothing from its local tier as fresh: how stale a local read may be while Redis cannot be reached. Shorter than a pause of Redis or of this process: reads go to Redis for nothing.',
    ).prefault('5s'),
  },
  'The local tier of this process.',
);

const audit = section(
  {
    url: checkedText(
      'Where the trail of every message is kept: a file of SQLite on this host, one per process. A relative path is relative to the configuration file.',
      'sqlite: and the path of a file',
      checkAuditUrl,
    ).prefault('sqlite:./cachewright-audit.db'),
    outboxMaxEntries: integer(
      { min: 100 },
      'Entries (one per execution of a chunk) that may wait in Redis for the store. At this bound ingest pauses, so that nothing is lost.',
    ).default(100_000),
  },
  'The record of what happened.',
);

const http = section(
  {
    host: text(
      'Address to listen on. Any but the loopback needs `http.tokens`: `E_HOST_UNPROTECTED`.',
      'the name or address of a network interface',
    ).default('127.0.0.1'),
    port: integer({ min: 0, max: 65_535 }, 'Port to listen on; 0: any free one.').default(8080),
    tokens: list(
      secret('A token.', {
        allowed: 'a token of at least 8 characters without spaces',
        problemOf: (value) =>
          /^[!-~]{8,}$/.test(value)
            ? undefined
            : 'allowed is a token of at least 8 printable characters without spaces',
      }),
      'Bearer tokens, of which a request needs one (health routes excepted). Several, so that they can be changed one after the other.',
    ).default([]),
    maxBodyBytes: integer({ min: 1024, max: 1024 * MIB, unit: 'bytes' }, 'Largest request.').default(
      10 * MIB,
    ),
  },
  'The HTTP side.',
);

const worker = section(
  {
    shutdownGraceMs: duration(
      '0ms',
      '10m',
      "How long a stopping process waits for the work in hand; then it hands it back. Shorter than the orchestrator's own deadline, or the process is killed and its jobs wait for `queue.lockMs`.",
    ).prefault('10s'),
    effectTimeoutMs: duration(
      '100ms',
      '10m',
      'How long one effect (a fetch of a group, a write of a group) may run before its attempt counts as failed. At least the longest `timeoutMs` of a source.',
    ).prefault('15s'),
  },
  'The worker.',
);

const log = section(
  {
    level: oneOf(['debug', 'info', 'warn', 'error', 'silent'], 'The least that is said.').default('info'),
    messages: oneOf(
      ['all', 'failures', 'none'],
      'Lines per message: one per step as the original prints, for failures only (and one line per job; of more than five in a second one line for the rest), or none. `all` is for looking on: it costs most of the throughput.',
    ).default('failures'),
    format: oneOf(['json', 'pretty'], 'For machines, or for people at a terminal.').default('json'),
  },
  'The log, on stderr.',
);

const deadLetters = section(
  {
    maxRedrives: integer(
      { min: 1, max: 1_000 },
      'How often a message may be redriven before a person has to insist (`--force`): what dies each time has another cause than the one that was mended.',
    ).default(5),
    redrivePerSecond: integer(
      { min: 0, max: 1_000_000 },
      'Messages a redrive puts into the queue per second, unless it is told otherwise; 0: no limit. All of them are fetched again: faster means more load on the sources, beside what their own limits allow.',
    ).default(1_000),
  },
  'Redriving messages that were rejected or given up.',
);

const roles = list(
  oneOf(['ingest', 'worker', 'api'], 'A role.'),
  'What this process does: take messages in, work on them, answer HTTP.',
  1,
).default(['ingest', 'worker', 'api']);

const sections = z.strictObject({
  kafka: maybe(kafka),
  redis: redis.prefault({}),
  queue: queue.prefault({}),
  limits: limits.prefault({}),
  local: local.prefault({}),
  audit: audit.prefault({}),
  http: http.prefault({}),
  worker: worker.prefault({}),
  deadLetters: deadLetters.prefault({}),
  log: log.prefault({}),
  roles,
  services: services.default({}),
});

/** Fills in what takes its default from another option. */
export const configSchema = sections.transform((given) => ({
  ...given,
  services: Object.fromEntries(
    Object.entries(given.services).map(([id, service]) => [
      id,
      {
        ...service,
        fenceTtlMs: service.fenceTtlMs ?? (service.ttlMs > 0 ? WEEK_MS : 0),
        local: { ...service.local, ttlMs: service.local.ttlMs ?? given.local.ttlMs },
      },
    ]),
  ),
}));

/** What `defineConfig` takes and a configuration file holds. */
export type ConfigInput = z.input<typeof configSchema>;

type Opaque = ((...args: never[]) => unknown) | { readonly '~standard': unknown };
type Frozen<Value> = Value extends Opaque
  ? Value
  : Value extends object
    ? { readonly [Name in keyof Value]: Frozen<Value[Name]> }
    : Value;

/** The resolved configuration: every field present, nothing to be changed. */
export type Config = Frozen<z.output<typeof configSchema>>;
export type KafkaConfig = NonNullable<Config['kafka']>;
export type ServiceConfig = Config['services'][string];
export type SourceConfig = ServiceConfig['source'];
export type VersionConfig = ServiceConfig['version'];
