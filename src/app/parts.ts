import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { createAuditThread } from '../adapters/audit-thread.ts';
import { createInstances } from '../adapters/redis-instances.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { createRedisInvalidationLog } from '../adapters/redis-invalidation-log.ts';
import { createRedisLeases } from '../adapters/redis-leases.ts';
import { createRedisTier } from '../adapters/redis-tier.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { shardPrefix } from '../core/shards.ts';
import type {
  ChunkQueue,
  Clock,
  ExecutionHandler,
  LocalTier,
  Log,
  MarkStore,
  RedisTier,
} from '../core/ports.ts';
import { createBackPressure } from '../ingest/back-pressure.ts';
import { createSubmit } from '../ingest/submit.ts';
import { createParse, type Parse } from '../pipeline/parse.ts';
import { createCoherentLocalTier } from '../read/coherent-local-tier.ts';
import { createFollower } from '../read/coherence.ts';
import { createGenerations } from '../read/generations.ts';
import { createOwnWrites } from '../read/own-writes.ts';
import { createReader } from '../read/reader.ts';
import { openConnections } from './connections.ts';
import { openDeadLetterOffice } from './dead-letter-office.ts';
import { createEvents } from './events.ts';
import { gaugesOf } from './gauges.ts';
import { createLog } from './log.ts';
import { openQueueShards } from './queue-shards.ts';
import { compileFollowRules, compileMappings, compileServices } from './services.ts';

/** All parts of a process, built and not yet started. */
export type Parts = ReturnType<typeof buildParts>;

/** The hash-tagged prefix of the queue's first shard, and of what all shards share. */
export function queuePrefix(config: Config): string {
  return shardPrefix(config.queue.prefix, 0);
}

/** A name for this process that no other has: host, process, and a few letters for hosts that re-use process ids. */
function instanceName(): string {
  return `${hostname()}-${process.pid}-${randomUUID().slice(0, 4)}`;
}

/**
 * What stands between a port and those who use it. Production has none: this is where the chaos suite kills, stops and
 * sabotages a process at a step of its choice (test/chaos/).
 */
export interface PortWraps {
  readonly parse?: (parse: Parse) => Parse;
  readonly localTier?: (tier: LocalTier) => LocalTier;
  readonly redisTier?: (tier: RedisTier) => RedisTier;
  readonly queue?: (queue: ChunkQueue) => ChunkQueue;
  readonly marks?: (marks: MarkStore) => MarkStore;
  readonly attempt?: (attempt: ExecutionHandler) => ExecutionHandler;
}

/** What a test may put in the place of the real thing. */
export interface Overrides {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly wraps?: PortWraps;
}

export function buildParts(config: Config, overrides: Overrides = {}) {
  const wraps = overrides.wraps ?? {};
  const clock = overrides.clock ?? systemClock();
  const log = overrides.log ?? createLog(config.log);
  const instance = instanceName();
  const chart = compileChart(changeMessage);
  const machine = machineName(chart);
  const prefix = queuePrefix(config);
  const events = createEvents();
  const services = compileServices(config, clock);
  const mappingOf = compileMappings(config);
  const parse = wrap(createParse({ services, mappingOf, limits: config.limits, clock }), wraps.parse);
  const connections = openConnections(config, instance, clock, log);
  const generations = createGenerations();
  const localTier = wrap(
    createCoherentLocalTier(createKeyvLocalTier({ ...config.local, clock }), generations),
    wraps.localTier,
  );
  const logWriter = { writer: instance, maxKeys: config.redis.cache.logKeys };
  const ownWrites = createOwnWrites(instance);
  const redisTier = ownWrites.over(
    wrap(createRedisTier({ redis: connections.cache, log: logWriter }), wraps.redisTier),
  );
  const invalidations = createRedisInvalidationLog(connections.follower, logWriter);
  const shards = openQueueShards({
    config,
    redis: connections.queue,
    log,
    ...(wraps.queue !== undefined && { wrapQueue: wraps.queue }),
  });
  const { queue } = shards;
  const { keys } = shards.at(0);
  const limits = {
    maxChunkMessages: config.queue.maxChunkMessages,
    maxChunkBytes: config.queue.maxChunkBytes,
  };
  const gauges = gaugesOf({ shards, config, redis: connections.queue });
  const backPressure = createBackPressure({ gauges, clock, log });
  const submit = createSubmit({ queue, machine, limits });
  const audit = createAuditThread({
    file: config.audit.url.slice('sqlite:'.length),
    redisUrl: config.redis.url,
    outboxes: shards.all().map((shard) => shard.keys.auditOutbox),
    connectTimeoutMs: 5_000,
    commandTimeoutMs: config.redis.commandTimeoutMs,
    onLag: () => undefined,
    onDefect: (defect) =>
      log.error({ ...defect }, 'an audit entry could not be read; its text is kept among the defects'),
    onError: (error) => log.warn({ code: error.code }, error.message),
  });
  const letters = shards.letters(clock);
  const deadLetters = openDeadLetterOffice({
    chart,
    machine,
    services,
    mappingOf,
    limits: { ...config.limits, ...limits },
    redisTier,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    box: letters,
    queue,
    maxRedrives: config.deadLetters.maxRedrives,
    clock,
    log,
  });
  const instances = createInstances({ redis: connections.queue, prefix, name: instance, clock, log });
  const coherence = createFollower({
    log: invalidations,
    localTier,
    redisTier,
    generations,
    ruleOf: compileFollowRules(config.services, services),
    ownWrites,
    blindMs: config.local.blindMs,
    clock,
    logger: log,
  });
  const reader = createReader({
    localTier,
    redisTier,
    leases: createRedisLeases({ redis: connections.cache }),
    coherence,
    clock,
    instance,
    maxWaitMs: 2 * config.worker.effectTimeoutMs,
  });
  return {
    config,
    clock,
    log,
    wraps,
    instance,
    machine,
    chart,
    prefix,
    keys,
    shards,
    events,
    services,
    mappingOf,
    parse,
    connections,
    localTier,
    redisTier,
    coherence,
    queue,
    limits,
    backPressure,
    submit,
    audit,
    letters,
    deadLetters,
    instances,
    reader,
  };
}

/** @param wrapping left out in production: the port is the port */
export function wrap<Port>(port: Port, wrapping: ((port: Port) => Port) | undefined): Port {
  return wrapping === undefined ? port : wrapping(port);
}
