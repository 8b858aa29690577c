import type { Message } from '../core/change.ts';
import type { DeadLetterOffice } from '../core/dead-letter.ts';
import type { CachewrightError } from '../core/errors.ts';
import type { AuditQuery } from '../core/ports.ts';
import type { AuditRecord } from '../core/trail.ts';
import type { BoardQueue } from './board.ts';

/** A record as a reader gets it. */
export interface RecordView {
  /** The record's JSON text, byte for byte. */
  readonly text: string;
  /** `kind:digits`; '' when no fence is known. */
  readonly version: string;
  readonly tier: 'local' | 'redis' | 'source' | 'stale';
  /** Since this instance took it, milliseconds; null from Redis, which does not tell. */
  readonly ageMs: number | null;
  /** It was read while this instance had lost sight of the changes of others. */
  readonly isBlind: boolean;
  /** The same object for the same entry of the local tier. */
  readonly held: object | undefined;
}

/** How the read of one of many records ended. */
export type RecordAnswer =
  | { readonly kind: 'found'; readonly record: RecordView }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

/** What an operator asks for. */
export interface AdminRequest {
  /** `refresh`: read the records from their source again. `evict`: take them out of the caches, as a delete does. */
  readonly action: 'refresh' | 'evict';
  readonly service: string;
  readonly ids: readonly string[];
  /** Stands in the trail; '' when none was given. */
  readonly reason: string;
}

/** What the HTTP server asks of the app. */
export interface AppView {
  readonly instance: string;
  /** Epoch milliseconds by the app's clock. */
  nowMs(): number;
  /** Progress of this process; touches no dependency. */
  live(): { readonly live: boolean; readonly reason: string };
  /** What is missing before this process can do its work; empty: ready. */
  missing(): Promise<readonly string[]>;
  /** Whether this instance has lost sight of the changes of others: nothing was heard of them for `local.blindMs`. */
  isBlind(): boolean;
  /** @throws E_NOT_FOUND for an unknown service, E_KEY_INVALID, E_REDIS_READ, what the source failed with */
  get(service: string, id: string): Promise<RecordView | undefined>;
  /** One answer per id, in order. @throws E_NOT_FOUND for an unknown service */
  getMany(service: string, ids: readonly string[]): Promise<RecordAnswer[]>;
  /** Makes and enqueues change messages; returns their ids. @throws E_NOT_FOUND, E_NOT_REFRESHABLE, E_KEY_INVALID, E_ENQUEUE_FAILED */
  admin(request: AdminRequest): Promise<readonly string[]>;
  /** What is wrong with a message, before it is taken; undefined: nothing. */
  check(message: Message): Promise<CachewrightError | undefined>;
  /** Enqueues and returns once Redis has confirmed. @throws E_ENQUEUE_FAILED, E_QUEUE_FULL above a bound */
  submit(messages: readonly Message[]): Promise<void>;
  /** How durable the queue's Redis is set up: `aof`, `snapshots only`, `memory only`, or `unknown` when it does not answer. */
  durability(): Promise<string>;
  /** Remembers which ids answered a request, or tells those of an earlier one with this key. @throws E_IDEMPOTENCY_REUSED, E_ENQUEUE_FAILED */
  remember(key: string, contentHash: string, ids: readonly string[]): Promise<readonly string[]>;
  trail(query: AuditQuery): Promise<AuditRecord[]>;
  readonly fences: {
    /** @throws E_NOT_FOUND for an unknown service, E_REDIS_READ */
    show(service: string, id: string): Promise<object>;
    /** Returns the fence that was taken away. @throws E_NOT_FOUND when there is none, E_FENCE_IN_USE, E_REDIS_READ, E_UNREACHABLE */
    reset(service: string, id: string, reason: string): Promise<object>;
  };
  readonly deadLetters: DeadLetterOffice;
  /** How fast a redrive goes that does not say, messages a second. */
  readonly redrivePerSecond: number;
  /** Those of all shards that are known of now. */
  queues(): readonly BoardQueue[];
}
