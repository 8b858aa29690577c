/** What the main thread and the audit thread say to each other. */
import type { AuditDefect, AuditLag, AuditQuery } from '../core/ports.ts';
import type { AuditRecord } from '../core/trail.ts';

/** Given to the thread when it starts. */
export interface AuditThreadData {
  readonly file: string;
  readonly redisUrl: string;
  /** Keys of the outbox streams, one of each shard. */
  readonly outboxes: readonly string[];
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
}

export type ToAuditThread =
  | { readonly kind: 'find'; readonly id: number; readonly query: AuditQuery }
  | { readonly kind: 'count'; readonly id: number }
  /** Outboxes of shards that were found since. */
  | { readonly kind: 'follow'; readonly id: number; readonly outboxes: readonly string[] }
  | { readonly kind: 'flush'; readonly id: number; readonly deadlineMs: number }
  | { readonly kind: 'close'; readonly id: number; readonly deadlineMs: number };

/** An error on its way between threads: code and details, from which the other side makes it again. */
export interface PostedError {
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type FromAuditThread =
  /** It holds the file's lease and writes. */
  | { readonly kind: 'ready' }
  /** Another process holds the lease; told once, `ready` follows when that one is gone. */
  | { readonly kind: 'standby' }
  | { readonly kind: 'lag'; readonly lag: AuditLag }
  | { readonly kind: 'defect'; readonly defect: AuditDefect }
  | { readonly kind: 'error'; readonly error: PostedError }
  | { readonly kind: 'found'; readonly id: number; readonly records: readonly AuditRecord[] }
  | { readonly kind: 'counted'; readonly id: number; readonly rows: number }
  | { readonly kind: 'followed'; readonly id: number }
  | { readonly kind: 'flushed'; readonly id: number; readonly isDone: boolean }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PostedError }
  /** The last message: the store is closed. */
  | { readonly kind: 'closed'; readonly id: number; readonly isFlushed: boolean };
