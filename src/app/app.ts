import type { Config } from '../config/schema.ts';
import { reasonOf } from '../core/errors.ts';
import { createServer, type HttpServer } from '../server/server.ts';
import { type CacheGuard, startCacheGuard } from './cache-guard.ts';
import { type CachewrightEvents } from './events.ts';
import { type KafkaIngest, startKafkaIngest } from './kafka-ingest.ts';
import { checkRedisRoles } from './redis-roles.ts';
import { createRedisWatch } from './redis-watch.ts';
import { createView } from './view.ts';
import { buildParts, type Overrides, type Parts } from './parts.ts';
import { createShardWatch } from './shard-watch.ts';
import { createShardWork, type ShardWork } from './shard-work.ts';

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
export function createApp(config: Config, overrides: Overrides = {}): App {
  return new RunningApp(buildParts(config, overrides));
}

class RunningApp implements App {
  readonly parts: Parts;
  readonly #stop = new AbortController();
  readonly #has: ReadonlySet<string>;
  readonly #redisWatch: ReturnType<typeof createRedisWatch>;
  #server: HttpServer | undefined;
  readonly #shardWatch: ReturnType<typeof createShardWatch>;
  #work: ShardWork | undefined;
  #kafka: KafkaIngest | undefined;
  #cacheGuard: CacheGuard | undefined;
  #isAuditOpen = false;
  #isStarted = false;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.parts = parts;
    this.#has = new Set(parts.config.roles);
    this.#redisWatch = createRedisWatch(parts);
    this.#shardWatch = createShardWatch(parts, async () => this.#work?.serve());
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  on<Name extends keyof CachewrightEvents>(
    event: Name,
    listener: (...args: CachewrightEvents[Name]) => void,
  ): void {
    this.parts.events.on(event, listener as never);
  }

  async start(): Promise<void> {
    const { parts } = this;
    if (this.#has.has('api')) await this.#listen();
    await parts.connections.ready(this.#stop.signal);
    await checkRedisRoles(parts);
    this.#redisWatch.start();
    await this.#shardWatch.start();
    await parts.coherence.start();
    await parts.instances.start((others) => parts.log.debug({ others }, 'instances that share this queue'));
    if (this.#has.has('worker')) {
      const role = await parts.audit.start();
      this.#isAuditOpen = true;
      if (role === 'standby')
        parts.log.info({}, 'another process of this host writes the audit file; this one stands by');
      this.#work = createShardWork(parts);
      await this.#work.serve();
    }
    if (this.#has.has('ingest') && parts.config.kafka !== undefined) {
      this.#kafka = await startKafkaIngest(parts, parts.config.kafka, this.#stop.signal);
    }
    this.#cacheGuard = startCacheGuard(parts);
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
    this.#redisWatch.close();
    this.#shardWatch.close();
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
    await step('the watch over the cache', this.#cacheGuard?.close(), 5_000);
    await step('ingest', this.#kafka?.close(), graceMs + 2_000);
    await step('the worker', this.#work?.closeWorkers(graceMs), graceMs + 6_000);
    await step('dead letters', this.#work?.closeMovers(), 2_000);
    await step('the delivery of dead letters', this.#work?.closeDeliveries(), 2_000);
    await step('the office of dead letters', parts.deadLetters.close(), 1_000);
    if (this.#isAuditOpen) await step('the audit', parts.audit.close(3_000), 5_000);
    await step('HTTP', this.#server?.close(), 2_000);
    parts.reader.close();
    await step(
      'sources',
      Promise.all([...parts.services.values()].map(({ source }) => source.close())),
      2_000,
    );
    await step('the register of instances', parts.instances.close(), 1_000);
    await step('the invalidation log', parts.coherence.close(), 1_000);
    await step('the queue', parts.queue.close(), 1_000);
    parts.connections.close();
    parts.events.emit('closed');
  }
}
