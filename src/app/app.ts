import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { createAuditThread } from '../adapters/audit-thread.ts';
import { queueKeys } from '../adapters/bullmq-closing-script.ts';
import { createDeadLetterMover } from '../adapters/bullmq-dead-letters.ts';
import { createChunkQueue } from '../adapters/bullmq-queue.ts';
import { createChunkWorker } from '../adapters/bullmq-worker.ts';
import { createKeyvLocalTier } from '../adapters/keyv-local-tier.ts';
import { createRedisTier } from '../adapters/redis-tier.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { reasonOf } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';
import { createSubmit } from '../ingest/submit.ts';
import { createAttempt } from '../pipeline/attempt.ts';
import { createEffects } from '../pipeline/effects.ts';
import { createExecutor } from '../pipeline/executor.ts';
import { createParse, type Parse } from '../pipeline/parse.ts';
import { createReader } from '../read/reader.ts';
import { createServer, type HttpServer } from '../server/server.ts';
import { type Connections, openConnections } from './connections.ts';
import { type AppEvents, announce, type CachewrightEvents, createEvents } from './events.ts';
import { type KafkaIngest, startKafkaIngest } from './kafka-ingest.ts';
import { createLog } from './log.ts';
import { checkRedisRoles } from './redis-roles.ts';
import { compileMappings, compileServices } from './services.ts';
import { createView } from './view.ts';

/** BullMQ's name of the queue of chunks. */
export const QUEUE = 'changes';

/** Runs of one call of an effect, and about how many bytes of records. */
const MAX_GROUP_RUNS = 500;
const MAX_GROUP_BYTES = 4 * 1024 ** 2;

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
  const localTier = createKeyvLocalTier({ ...config.local, clock });
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
  const reader = createReader({ localTier, redisTier, clock });
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
    queue,
    limits,
    submit,
    audit,
    mover,
    reader,
  };
}

function buildWorker(parts: Parts) {
  const { config, chart, clock, log, parse, events, mover, connections, queue } = parts;
  const executor = createExecutor({
    chart,
    effects: createEffects(parts),
    clock,
    log,
    maxGroupRuns: MAX_GROUP_RUNS,
    maxGroupBytes: MAX_GROUP_BYTES,
    effectTimeoutMs: config.worker.effectTimeoutMs,
    defaultRetry: {
      attempts: 5,
      backoff: { initialMs: 500, factor: 2, maxMs: 60_000, jitter: 0.2 },
      horizonMs: 3_600_000,
    },
  });
  const attempt = createAttempt({
    chart,
    executor,
    parse,
    clock,
    log,
    onClosed: (closed) => {
      announce(events, log, config.log.messages, closed);
      if (closed.runs.some((run) => run.state === 'rejected' || run.state === 'gaveUp')) mover.wake();
    },
  });
  return createChunkWorker(
    {
      connection: connections.blocking,
      scripts: connections.queue,
      queue: QUEUE,
      prefix: parts.prefix,
      name: parts.instance,
      concurrency: config.queue.concurrency,
      lockMs: config.queue.lockMs,
      stalledIntervalMs: config.queue.stalledIntervalMs,
      enqueue: (chunks) => queue.enqueue(chunks),
      clock,
      log,
    },
    attempt,
  );
}

/** A running process: what `createCachewright` gives, and what the commands steer. */
export interface App {
  readonly parts: Parts;
  /** `http://host:port` once the API listens; '' without the api role. */
  readonly url: string;
  /** Resolves when every role does its work. Waits for dependencies that are not up, saying which. */
  start(): Promise<void>;
  /**
   * Stops ingest, finishes or hands back jobs, flushes the audit, closes; each within its share of the grace.
   *
   * @param graceMs how long jobs may take to finish. @defaultValue `worker.shutdownGraceMs`
   */
  close(graceMs?: number): Promise<void>;
  on<Name extends keyof CachewrightEvents>(
    event: Name,
    listener: (...args: CachewrightEvents[Name]) => void,
  ): void;
}

/** Builds a process from its resolved configuration. Nothing is connected or read from before `start`. */
export function createApp(
  config: Config,
  overrides: { readonly clock?: Clock; readonly log?: Log } = {},
): App {
  return new RunningApp(buildParts(config, overrides));
}

class RunningApp implements App {
  readonly parts: Parts;
  readonly #stop = new AbortController();
  readonly #has: ReadonlySet<string>;
  #server: HttpServer | undefined;
  #worker: ReturnType<typeof buildWorker> | undefined;
  #kafka: KafkaIngest | undefined;
  #isAuditOpen = false;
  #isStarted = false;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.parts = parts;
    this.#has = new Set(parts.config.roles);
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  on<Name extends keyof CachewrightEvents>(
    event: Name,
    listener: (...args: CachewrightEvents[Name]) => void,
  ): void {
    (this.parts.events as AppEvents).on(event, listener as never);
  }

  async start(): Promise<void> {
    const { parts } = this;
    if (this.#has.has('api')) await this.#listen();
    await parts.connections.ready(this.#stop.signal);
    await checkRedisRoles(parts);
    if (this.#has.has('worker')) {
      const role = await parts.audit.start();
      this.#isAuditOpen = true;
      if (role === 'standby')
        parts.log.info({}, 'another process of this host writes the audit file; this one stands by');
      parts.mover.start();
      this.#worker = buildWorker(parts);
      await this.#worker.start();
    }
    if (this.#has.has('ingest') && parts.config.kafka !== undefined) {
      this.#kafka = await startKafkaIngest(parts, parts.config.kafka, this.#stop.signal);
    }
    this.#isStarted = true;
    parts.events.emit('ready');
  }

  async #listen(): Promise<void> {
    const { config, log } = this.parts;
    const view = createView(this.parts, {
      missing: () => this.#missing(),
      health: () => this.#kafka?.health() ?? { healthy: true, reason: '' },
    });
    this.#server = await createServer(config.http, view, log);
    await this.#server.listen();
  }

  #missing(): string[] {
    const missing = this.parts.connections.missing();
    if (this.#has.has('worker') && !this.#isAuditOpen) missing.push('audit store');
    const kafka = this.parts.config.kafka !== undefined && this.#has.has('ingest');
    if (kafka && (this.#kafka === undefined || !this.#kafka.health().healthy)) missing.push('Kafka consumer');
    if (missing.length === 0 && !this.#isStarted) missing.push('start is under way');
    return missing;
  }

  close(graceMs = this.parts.config.worker.shutdownGraceMs): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const { parts } = this;
    this.#stop.abort();
    const step = async (
      what: string,
      done: Promise<unknown> | undefined,
      deadlineMs: number,
    ): Promise<void> => {
      if (done === undefined) return;
      const late = new Promise<'late'>((resolve) => setTimeout(resolve, deadlineMs, 'late').unref());
      try {
        if ((await Promise.race([done, late])) === 'late')
          parts.log.warn({ deadlineMs }, `${what} did not end in time`);
      } catch (error) {
        parts.log.warn({ reason: reasonOf(error) }, `closing ${what}`);
      }
    };
    await step('ingest', this.#kafka?.close(), graceMs + 2_000);
    await step('the worker', this.#worker?.close(graceMs), graceMs + 6_000);
    await step('dead letters', this.parts.mover.close(), 2_000);
    if (this.#isAuditOpen) await step('the audit', parts.audit.close(3_000), 5_000);
    await step('HTTP', this.#server?.close(), 2_000);
    await step(
      'sources',
      Promise.all([...parts.services.values()].map(({ source }) => source.close())),
      2_000,
    );
    await step('the queue', parts.queue.close(), 1_000);
    parts.connections.close();
    parts.events.emit('closed');
  }
}

export type { Connections, Parse };
