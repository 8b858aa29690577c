/**
 * The package's first door: Cachewright inside a program of yours. Importing it connects to nothing, patches nothing
 * and loads no driver; that happens in `start()`.
 */
import type { EventEmitter } from 'node:events';
import { monotonicFactory } from 'ulid';
import type { KafkaCodec, KafkaCodecName } from './app/kafka-codecs.ts';
import type { App } from './app/app.ts';
import type { Parts } from './app/parts.ts';
import type { CachewrightEvents } from './app/events.ts';
import { resolveConfig } from './config/resolve.ts';
import type { Config, ConfigInput } from './config/schema.ts';
import type { Message } from './core/change.ts';
import { fail } from './core/errors.ts';
import type { Log } from './core/ports.ts';
import type { Service } from './core/service.ts';
import { type CachedRecord, cachedRecordOf, cachedRecordsOf } from './read/cached-record.ts';

export type { KafkaCodec, KafkaCodecName } from './app/kafka-codecs.ts';
export type { CachewrightEvents, MessageEvent } from './app/events.ts';
export { defineConfig, defineSource } from './config/define-config.ts';
export type { Config, ConfigInput } from './config/schema.ts';
export type { JsonSchema } from './config/services.ts';
export type { FetchMany, FetchOne, FunctionSourceInput } from './config/sources.ts';
export type { Bytes, Header, Message, Operation, Origin } from './core/change.ts';
export {
  CachewrightError,
  catalogue,
  type ErrorCode,
  type ErrorDetails,
  type ErrorOutcome,
} from './core/errors.ts';
export type { Log } from './core/ports.ts';
export type { StandardSchema } from './core/schema.ts';
export type { DecodedChange } from './core/service.ts';
export type { TrailStep } from './core/trail.ts';
export type { CachedRecord } from './read/cached-record.ts';

/**
 * Registers a codec for compressed topics, before the first start; gzip, lz4 and zstd are built in. In a configuration
 * file: `await registerKafkaCodec('snappy', …)` at its top.
 */
export async function registerKafkaCodec(name: KafkaCodecName, codec: KafkaCodec): Promise<void> {
  const codecs = await import('./app/kafka-codecs.ts');
  codecs.registerKafkaCodec(name, codec);
}

/** A change message: an object, which is sent as JSON, or the exact text. */
export type PublishedMessage = object | string;

export interface CachewrightOptions {
  /** Takes the place of the log on stderr; `log.level` and `log.format` then do nothing. */
  readonly log?: Log;
}

/** Cachewright inside this process. */
export interface Cachewright {
  /** Where the API listens, `http://host:port`; '' before `start()` and without the role `api`. */
  readonly url: string;
  /**
   * Connects and begins the work of the configured roles. Waits for dependencies that are not up yet, saying which in
   * the log. Resolves when ready; called again it is the same start.
   *
   * @throws `E_REDIS_POLICY`, `E_AUDIT_STORE`, `E_PORT_IN_USE` …; everything is closed again then
   */
  start(): Promise<void>;
  /**
   * Stops ingest, finishes or hands back the work in hand, closes everything. Also ends a start that still waits.
   * Signals are the program's own business: nothing here listens to them.
   *
   * @param graceMs how long the work in hand may take. @defaultValue `worker.shutdownGraceMs`
   */
  close(graceMs?: number): Promise<void>;
  /**
   * Hands changes straight into the queue, without Kafka. All or nothing: one that would be rejected refuses them all.
   *
   * @param messages one message in the original's form (`{"serviceId", "id", "op"?, …}`), or a list
   * @returns message ids (`app@<ulid>`) in the order of the messages, once the queue's Redis has confirmed them
   * @throws the first message's error, its place as `details.index`; `E_ENQUEUE_FAILED`: unknown, may be sent again;
   *   `E_NOT_RUNNING`
   */
  publish(messages: PublishedMessage | readonly PublishedMessage[]): Promise<string[]>;
  /**
   * A record from this instance's local tier, else from Redis, else from its source; undefined: there is none.
   *
   * @throws `E_NOT_FOUND` for an unknown service, `E_KEY_INVALID`, `E_REDIS_READ`, what the source failed with,
   *   `E_NOT_RUNNING`
   */
  get(service: string, id: string | number | bigint): Promise<CachedRecord | undefined>;
  /** Many at once, in the order of the ids. @throws what the first of them failed with */
  getMany(service: string, ids: readonly (string | number | bigint)[]): Promise<(CachedRecord | undefined)[]>;
  /**
   * Whether nothing was heard of the changes of other instances for `local.blindMs`: until they are heard of, the local tier
   * is not served as fresh. A record says by itself whether it was read so. @throws `E_NOT_RUNNING`
   */
  isBlind(): boolean;
  /** Listens, also before `start()`; a listener must not throw. Returns how to stop. */
  on<Name extends keyof CachewrightEvents>(
    event: Name,
    listener: (...args: CachewrightEvents[Name]) => void,
  ): () => void;
}

/**
 * Builds an instance. Nothing is connected before `start()`.
 *
 * @param config as a configuration file has it. Environment variables (`CACHEWRIGHT_…`) go before it, as they go before
 *   a file; relative paths begin at the working directory.
 * @throws `E_CONFIG_INVALID` with all problems, `E_HOST_UNPROTECTED`
 */
export function createCachewright(config: ConfigInput, options: CachewrightOptions = {}): Cachewright {
  return new Embedded(resolveConfig({ input: config }).config, options);
}

class Embedded implements Cachewright {
  readonly #config: Config;
  readonly #options: CachewrightOptions;
  /** Listeners that came before the app. */
  readonly #early = new Set<(events: EventEmitter) => void>();
  readonly #nextUlid = monotonicFactory();
  #app: App | undefined;
  #starting: Promise<void> | undefined;
  #state: 'new' | 'running' | 'closed' = 'new';

  constructor(config: Config, options: CachewrightOptions) {
    this.#config = config;
    this.#options = options;
  }

  get url(): string {
    return this.#app?.url ?? '';
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { createApp } = await import('./app/app.ts');
    if (this.#state === 'closed') throw fail('E_NOT_RUNNING', { what: 'A start' });
    const app = createApp(this.#config, this.#options);
    this.#app = app;
    for (const attach of this.#early) attach(app.parts.events);
    try {
      await app.start();
      this.#state = 'running';
    } catch (thrown) {
      this.#state = 'closed';
      await app.close(0);
      throw thrown;
    }
  }

  async close(graceMs?: number): Promise<void> {
    this.#state = 'closed';
    await this.#app?.close(graceMs);
    await this.#starting?.catch(() => undefined);
  }

  async publish(messages: PublishedMessage | readonly PublishedMessage[]): Promise<string[]> {
    const { parse, submit, clock } = this.#running('publish');
    const timestampMs = Math.floor(clock.now());
    const given: readonly PublishedMessage[] = isList(messages) ? messages : [messages];
    const sent = given.map((message): Message => {
      const value = typeof message === 'string' ? message : JSON.stringify(message);
      const origin = { stream: 'app', epoch: 0, position: this.#nextUlid(timestampMs) };
      return { origin, timestampMs, key: null, value, headers: [] };
    });
    const results = await Promise.all(sent.map(async (message) => parse(message)));
    for (const [index, result] of results.entries()) {
      if (result.kind !== 'rejected') continue;
      const { code, details } = result.error;
      throw fail(code, { ...details, index }, { cause: result.error });
    }
    return submit(sent, { idPrefix: 'app' });
  }

  async get(service: string, id: string | number | bigint): Promise<CachedRecord | undefined> {
    const { services, reader } = this.#running('get');
    const found = await reader.get(knownService(services, service), String(id));
    return found === undefined ? undefined : cachedRecordOf(found);
  }

  async getMany(
    service: string,
    ids: readonly (string | number | bigint)[],
  ): Promise<(CachedRecord | undefined)[]> {
    const { services, reader } = this.#running('getMany');
    return cachedRecordsOf(await reader.getMany(knownService(services, service), ids.map(String)));
  }

  isBlind(): boolean {
    return this.#running('isBlind').coherence.state() === 'blind';
  }

  on<Name extends keyof CachewrightEvents>(
    event: Name,
    listener: (...args: CachewrightEvents[Name]) => void,
  ): () => void {
    const attach = (events: EventEmitter): void => void events.on(event, listener);
    if (this.#app === undefined) this.#early.add(attach);
    else attach(this.#app.parts.events);
    return () => {
      this.#early.delete(attach);
      (this.#app?.parts.events as EventEmitter | undefined)?.off(event, listener);
    };
  }

  #running(what: string): Parts {
    if (this.#state !== 'running' || this.#app === undefined) throw fail('E_NOT_RUNNING', { what });
    return this.#app.parts;
  }
}

function knownService(services: Parts['services'], service: string): Service {
  const known = services.get(service);
  if (known === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
  return known;
}

function isList(
  messages: PublishedMessage | readonly PublishedMessage[],
): messages is readonly PublishedMessage[] {
  return Array.isArray(messages);
}
