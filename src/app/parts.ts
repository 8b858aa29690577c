import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { createAuditThread } from '../adapters/audit-thread.ts';
import { queueKeys } from '../adapters/bullmq-closing-script.ts';
import { createDeadLetterMover } from '../adapters/bullmq-dead-letters.ts';
import { createChunkQueue } from '../adapters/bullmq-queue.ts';
import { createInstances } from '../adapters/redis-instances.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { createRedisLeases } from '../adapters/redis-leases.ts';
import { createRedisTier } from '../adapters/redis-tier.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import type { Clock, Log } from '../core/ports.ts';
import { createSubmit } from '../ingest/submit.ts';
import { createParse } from '../pipeline/parse.ts';
import { createCoherentLocalTier } from '../read/coherent-local-tier.ts';
import { createLoneCoherence } from '../read/fills.ts';
import { createGenerations } from '../read/generations.ts';
import { createReader } from '../read/reader.ts';
import { openConnections } from './connections.ts';
import { createEvents } from './events.ts';
import { createLog } from './log.ts';
import { compileMappings, compileServices } from './services.ts';

/** BullMQ's name of the queue of chunks. */
export const QUEUE = 'changes';

/** All parts of a process, built and not yet started. */
export type Parts = ReturnType<typeof buildParts>;

/** The hash-tagged prefix of every key of the queue: all share one slot of a Redis Cluster. */
export function queuePrefix(config: Config): string {
  return `{${config.queue.prefix}}`;
}

/** A name for this process that no other has: host, process, and a few letters for hosts that re-use process ids. */
function instanceName(): string {
  return `${hostname()}-${process.pid}-${randomUUID().slice(0, 4)}`;
}

export function buildParts(config: Config, overrides: { readonly clock?: Clock; readonly log?: Log } = {}) {
  const clock = overrides.clock ?? systemClock();
  const log = overrides.log ?? createLog(config.log);
  const instance = instanceName();
  const chart = compileChart(changeMessage);
  const machine = machineName(chart);
  const prefix = queuePrefix(config);
  const keys = queueKeys(prefix, QUEUE);
  const events = createEvents();
  const services = compileServices(config, clock);
  const mappingOf = compileMappings(config);
  const parse = createParse({ services, mappingOf, limits: config.limits, clock });
  const connections = openConnections(config, instance, clock, log);
  const generations = createGenerations();
  const localTier = createCoherentLocalTier(createKeyvLocalTier({ ...config.local, clock }), generations);
  const redisTier = createRedisTier({ redis: connections.cache });
  const queue = createChunkQueue({
    redis: connections.queue,
    prefix,
    name: QUEUE,
    keep: config.queue.keepCompleted,
    log,
  });
  const limits = {
    maxChunkMessages: config.queue.maxChunkMessages,
    maxChunkBytes: config.queue.maxChunkBytes,
  };
  const submit = createSubmit({ queue, machine, limits });
  const audit = createAuditThread({
    file: config.audit.url.slice('sqlite:'.length),
    redisUrl: config.redis.url,
    outbox: keys.auditOutbox,
    connectTimeoutMs: 5_000,
    commandTimeoutMs: config.redis.commandTimeoutMs,
    onLag: () => undefined,
    onDefect: (defect) =>
      log.error({ ...defect }, 'an audit entry could not be read; its text is kept among the defects'),
    onError: (error) => log.warn({ code: error.code }, error.message),
  });
  const mover = createDeadLetterMover({
    redis: connections.queue,
    connection: connections.blocking,
    prefix,
    outbox: keys.deadOutbox,
    clock,
    log,
  });
  const instances = createInstances({ redis: connections.queue, prefix, name: instance, clock, log });
  const coherence = createLoneCoherence(localTier, generations);
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
    instance,
    machine,
    chart,
    prefix,
    keys,
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
    submit,
    audit,
    mover,
    instances,
    reader,
  };
}
