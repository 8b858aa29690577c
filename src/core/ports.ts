/**
 * Every port of the product: what the rooms ask of the outside. Adapters implement them; fakes pass the same suites.
 */
import type { Bytes, Header, Operation, Origin } from './change.ts';
import type { ChunkData } from './chunk.ts';
import type { Redriving } from './dead-letter.ts';
import type { CachewrightError } from './errors.ts';
import type { StoredChunk } from './packed-chunk.ts';
import type { Version } from './service.ts';
import type { StreamPlace } from './shards.ts';
import type { AuditEntry, AuditRecord } from './trail.ts';

/** Wall clock and timers, so that tests and the simulation own time. */
export interface Clock {
  /** Epoch milliseconds with fractions; never goes back within a process. */
  now(): number;
  /** Resolves after `ms`, rejects with `E_ABORTED` when the signal fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
}

/** Structured log; the first argument's fields never contain secrets or whole payloads. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

// ── Sources of change messages ──────────────────────────────────────────────────────────────────────────────────────

/** A raw record of a source, before it becomes a {@link Message}. */
export interface SourceRecord {
  readonly offset: string;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer])[];
}

/** A partition's log as it stands. */
export interface LogBounds {
  /** First and next offset, decimal. */
  readonly low: string;
  readonly high: string;
  /** Names the log itself (Kafka's topic id): another id under the same name is another log. '' when the source cannot tell. */
  readonly logId: string;
}

/** What may be asked of one assigned partition, between batches too. */
export interface SourcePartition {
  /** Grows with every rebalance: mark and commit are compared again before the first enqueue of each. */
  readonly generation: number;
  /** The offset the group has committed for this partition, decimal; null when there is none. */
  committed(): Promise<string | null>;
  bounds(): Promise<LogBounds>;
  /** Makes the source continue at `offset`; the rest of a batch at hand is dropped. */
  seek(offset: string): void;
  /** Stops fetching this partition until the returned function is called. */
  pause(): () => void;
}

/** One partition's slice of messages, in order, with what the handler may do about it. */
export interface SourceBatch extends SourcePartition {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly SourceRecord[];
  /** Log end offset as last seen, decimal. */
  readonly highWatermark: string;
  /** Fires when the partition is lost or the source closes. */
  readonly signal: AbortSignal;
  /** Keeps the membership alive; cheap enough to call between slices. */
  heartbeat(): Promise<void>;
  /** Marks everything up to and including `offset` as done: the source goes on behind it. */
  resolve(offset: string): void;
  /**
   * Resolves `offset` and commits `offset + 1` for this partition only. A resolved one may be committed after the handler
   * has returned; rejects when the membership that got the batch is over, since the partition may be another's by then.
   */
  commit(offset: string): Promise<void>;
}

/** How far an assigned partition has come in this process. */
export interface SourcePosition {
  readonly topic: string;
  readonly partition: number;
  /** Next offset after what is done (batches of only control records count), decimal; '' when nothing was done yet. */
  readonly resolved: string;
  readonly isPaused: boolean;
}

/** Handles one batch; returns when the batch is committed, sought or given up. A rejection makes the source offer it again. */
export type BatchHandler = (batch: SourceBatch) => Promise<void>;

/** An ordered, replayable source of change messages: Kafka behind kafkajs, or a fake. */
export interface ChangeSource {
  /** Names the cluster: another id behind the same address is another log. Known after `start`. */
  readonly clusterId: string;
  readonly groupId: string;
  /** Joins and begins to call the handler, one batch per partition at a time. Resolves when joined. */
  start(handler: BatchHandler): Promise<void>;
  /** What is assigned to this instance now. */
  assignments(): readonly { readonly topic: string; readonly partitions: readonly number[] }[];
  /** Calls the listener after every join, when the assignments are the new ones. Returns how to stop. */
  onAssigned(listener: () => void): () => void;
  /** One entry per assigned partition. */
  positions(): readonly SourcePosition[];
  /** Asks about, or steers, a partition that need not have a batch at hand. */
  partition(topic: string, partition: number): SourcePartition;
  /** Leaves the group and joins anew; what was not committed is offered again. */
  restart(reason: string): Promise<void>;
  isHealthy(): { readonly healthy: boolean; readonly reason: string };
  /** Stops fetching, waits for running handlers, leaves the group. */
  close(): Promise<void>;
}

// ── The queue ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** A chunk on its way into the queue. */
export interface QueuedChunk<Data extends StoredChunk = StoredChunk> {
  /** Deterministic: the same messages cut the same way have the same id. Never a `:`. */
  readonly id: string;
  /** Shown in the queue UI: `cache-message/0 1200–1327`. */
  readonly name: string;
  readonly data: Data;
  /** The stream whose mark stands for it: both go to the same shard. Not there: any shard will do. */
  readonly place?: StreamPlace;
}

/** How many shards the queue has. */
export interface ShardRegister {
  /** Those that this process's messages go to. */
  readonly configured: number;
  /** All there are, as far as this process knows: those that others use, or used, too. */
  count(): number;
  /** Asks Redis for all there are, and writes down what it does not know. @throws `E_UNREACHABLE` */
  look(): Promise<number>;
  /** Resolves once it has looked: nothing may be put into a shard, or looked for, before. @throws `E_UNREACHABLE` */
  ready(): Promise<void>;
}

export interface QueueDepth {
  /** Jobs waiting, delayed and active. */
  readonly jobs: number;
  /** An estimate of the bytes they hold. */
  readonly bytes: number;
}

/** The producing side of the queue. */
export interface ChunkQueue {
  /**
   * All or unknown: a rejection says nothing about any chunk; call again with the same ids.
   *
   * @param sent called once the chunks are on their way: what is sent to the same server after that arrives behind them
   */
  enqueue(chunks: readonly QueuedChunk[], sent?: () => void): Promise<void>;
  depth(): Promise<QueueDepth>;
  close(): Promise<void>;
}

/** A mark: how far one stream is in the queue. Lives in the queue's Redis. */
export interface Mark {
  readonly epoch: number;
  /** Offset of the last message enqueued, decimal; '' when none. */
  readonly enqueued: string;
  /** Offset last acknowledged as committed (the next one to read), decimal; '' when none. */
  readonly committed: string;
  /** The log these offsets belong to, see {@link LogBounds.logId}; '' when unknown. */
  readonly logId: string;
}

/** The newest epoch of a group, topic and partition over all clusters, and the cluster that has it. */
export interface LatestEpoch {
  readonly clusterId: string;
  readonly epoch: number;
}

export interface MarkStore {
  /**
   * Brings the mark to the shard of the queue in which this process's jobs of the stream are, should it stand elsewhere. For
   * whoever moves it, before the first `read`.
   *
   * @throws `E_SHARD_DRAINING` while jobs of the stream are unfinished where it stands
   */
  settle(stream: MarkName): Promise<void>;
  read(stream: MarkName): Promise<Mark | null>;
  /** Null when this group, topic and partition never had a mark on any cluster. */
  latest(stream: MarkName): Promise<LatestEpoch | null>;
  /**
   * Moves the mark only if it still is what this consumer last read or wrote; false when another moved it. A rejection
   * says nothing about the mark: the same move may be asked again, and is true when it had happened.
   */
  move(stream: MarkName, from: Mark | null, to: Mark): Promise<boolean>;
  /**
   * The same for a mark that is sent right behind the jobs it stands for, without waiting for the queue's answer: it moves
   * only if the store itself sees all these jobs in the queue. `early`: it does not (yet), and the mark stays;
   * `elsewhere`: another moved it.
   *
   * @param jobs ids of the chunks that the mark moves over
   */
  moveBehind(
    stream: MarkName,
    from: Mark | null,
    to: Mark,
    jobs: readonly string[],
  ): Promise<'moved' | 'elsewhere' | 'early'>;
  /** Calls the listener when the store was away or is another server now: it may have lost what it knew. Returns how to stop. */
  onReturn(listener: (reason: string) => void): () => void;
}

export interface MarkName {
  readonly clusterId: string;
  readonly groupId: string;
  readonly topic: string;
  readonly partition: number;
}

/**
 * One beat of the tier mark: written to the cache's Redis, then to the queue's, so that a cache that fell behind shows, and
 * from where on. Only where the two are not one.
 */
export interface TierBeat {
  /** Grows by one with every beat. */
  readonly sequence: number;
  /** The instance that wrote it: of several that would write the same only one does. */
  readonly by: string;
  /** How often the cache was found behind. */
  readonly falls: number;
  /** The cache server that took it: a server that was started anew, or another, may have lost what came after the beat. */
  readonly server: string;
  /** By `topic/partition`, decimal: what stood below was in the cache when the beat was written. */
  readonly done: Readonly<Record<string, string>>;
}

/** What is yet to be replayed into a cache that was found behind, by `topic/partition`: from this offset on. */
export type TierRepair = Readonly<Record<string, string>>;

export interface TierMarks {
  /** Names the cache's server as it runs now; a restart gives another name. */
  server(): Promise<string>;
  queueBeat(): Promise<TierBeat | null>;
  cacheBeat(): Promise<TierBeat | null>;
  /** Only if the cache's beat still is `from`, and its server the one that `to` names. */
  beatCache(from: TierBeat | null, to: TierBeat): Promise<boolean>;
  /** Only if the queue's beat still is `from`. */
  beatQueue(from: TierBeat | null, to: TierBeat): Promise<boolean>;
  /** The lowest offset among the queue's unfinished jobs, by how the ids of a partition's jobs begin. */
  unfinished(): Promise<ReadonlyMap<string, string>>;
  repair(): Promise<TierRepair | null>;
  /** Only if the repair still is `from`. */
  moveRepair(from: TierRepair | null, to: TierRepair | null): Promise<boolean>;
  /** Whether this process may work on the repair for the next `forMs`. */
  holdRepair(holder: string, forMs: number): Promise<boolean>;
}

/** A letter in the dead-letter outbox and queue. */
export interface DeadLetter {
  readonly format: number;
  readonly message: string;
  readonly origin: Origin;
  readonly redrive: number;
  readonly timestampMs: number;
  readonly key: Bytes | null;
  readonly value: Bytes | null;
  readonly headers: readonly Header[];
  readonly service: string;
  readonly recordId: string;
  readonly cacheKey: string;
  /** `rejected` or `gaveUp`. */
  readonly state: string;
  readonly error: { readonly code: string; readonly message: string; readonly next: string };
  /** The effect it died in (`parse`, `fetch` …); '' when it killed its worker; not there in format 1. */
  readonly stage?: string;
  readonly attempts: number;
  readonly firstFailedMs: number;
  readonly diedMs: number;
  readonly job: string;
  readonly execution: number;
}

/** A letter where it lies, with the redrive that is under way. */
export interface StoredLetter {
  /** See `letterId`. */
  readonly id: string;
  readonly letter: DeadLetter;
  readonly redriving: Redriving | null;
}

/** Where dead letters lie. */
export interface DeadLetterBox {
  /** Ids of all letters, of each shard the oldest first. */
  ids(): Promise<string[]>;
  /** In the order of the ids; undefined where a letter is gone. */
  read(ids: readonly string[]): Promise<(StoredLetter | undefined)[]>;
  /** Writes down who redrives letters; those that are gone stay gone. */
  mark(ids: readonly string[], redriving: Redriving): Promise<void>;
  /** Removes letters for good: one that a slow mover still has in hand does not come back. Returns how many were there. */
  remove(ids: readonly string[]): Promise<number>;
  /** Of these chunks of the queue, those that are not finished. */
  openJobs(jobs: readonly string[]): Promise<ReadonlySet<string>>;
  /** Appends to the audit outbox. */
  record(entries: readonly AuditEntry[]): Promise<void>;
  close(): Promise<void>;
}

/** Where letters are delivered beside their queue: a Kafka topic. */
export interface DeadLetterTopic {
  /**
   * One outcome per letter: null once all in-sync replicas have it, else why this letter alone was not taken.
   *
   * @throws what concerns all: the brokers cannot be reached
   */
  deliver(letters: readonly DeadLetter[]): Promise<(CachewrightError | null)[]>;
  close(): Promise<void>;
}

/** One pick-up of a job by a worker, as the pipeline sees it. */
export interface Execution {
  readonly job: string;
  readonly name: string;
  readonly data: ChunkData;
  /** BullMQ's `attemptsStarted`: 1 for the first. */
  readonly execution: number;
  /** Execution number of the last one that closed; 0 when none did. */
  readonly lastClosed: number;
  /** Executions of a suspected chunk that began their work since the last closing: each of them died. */
  readonly begun: number;
  /** Executions since the last one that closed which left the job to a newer program: they did not die. */
  readonly passed: readonly number[];
  /** What the died execution before this one last said by {@link progress}; '' when there is none. */
  readonly lastProgress: string;
  readonly worker: string;
  /** Fires when the lock is lost, the worker shuts down past its deadline, or the job was handed out again. */
  readonly signal: AbortSignal;
  /** Leaves a short word in the job for a successor to read should this process die: fire and forget. */
  progress(state: string): void;
  /** Counts a suspected chunk's execution in {@link begun} before it touches a message. */
  begin(): Promise<void>;
  /** Notes that this execution leaves the job as it is, see {@link passed}. */
  pass(): Promise<void>;
  /** Adds the parts of a job that kills its workers; deterministic ids, before the parent closes. */
  split(parts: readonly QueuedChunk[]): Promise<void>;
  /**
   * Ends the execution in one step: keeps `rest` as the job's data, appends audit entry and dead letters to their outboxes.
   * `lost`: the lock is another's; nothing was written. `repeated`: this execution had closed already.
   */
  close(closing: Closing): Promise<'closed' | 'repeated' | 'lost'>;
}

export interface Closing {
  /** The unfinished runs, or null when all are final. */
  readonly rest: ChunkData | null;
  /** JSON of {@link AuditEntry} values: the execution's own, and one for each predecessor that died. */
  readonly audit: readonly string[];
  readonly deadLetters: readonly DeadLetter[];
  /** Ids of the letters whose redriven runs are final now: they leave the dead letters. */
  readonly settled: readonly string[];
}

/** How an execution ends for the queue, after its closing. */
export type ExecutionEnd =
  | { readonly kind: 'done'; readonly summary: unknown }
  /** Runs failed: counts as a BullMQ attempt, comes back at `dueMs`. */
  | { readonly kind: 'retry'; readonly dueMs: number; readonly error: CachewrightError }
  /** Runs wait without fault (breaker, rate limit): delayed, no attempt used. */
  | { readonly kind: 'wait'; readonly dueMs: number }
  /** The lock is gone or the worker stops: leave the job to whoever takes it. */
  | { readonly kind: 'handBack' };

/** The consuming side of the queue: calls the handler for every execution, `concurrency` at a time. */
export interface ChunkWorker {
  start(): Promise<void>;
  /** Waits for running executions up to `graceMs`, then aborts them and hands the jobs back. */
  close(graceMs: number): Promise<void>;
}
export type ExecutionHandler = (execution: Execution) => Promise<ExecutionEnd>;

// ── Sources of records ──────────────────────────────────────────────────────────────────────────────────────────────

/** One record asked for. */
export interface RecordRequest {
  readonly id: string;
}

export type FetchOutcome =
  /** `text`: the record's JSON, byte for byte as the source sent it. `version`: when the source gives it beside the record. */
  | { readonly kind: 'record'; readonly text: string; readonly version?: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

/** Where a service's records come from. */
export interface RecordSource {
  /**
   * One outcome per request, in the order of the requests (which are distinct ids). Never rejects for the fault of a
   * single record. Errors that concern all (open breaker `E_SOURCE_OPEN`, limit `E_SOURCE_BUSY`, timeout) come back as
   * `failed` outcomes too. Really stops when the signal fires.
   */
  fetchMany(requests: readonly RecordRequest[], signal: AbortSignal): Promise<FetchOutcome[]>;
  close(): Promise<void>;
}

// ── Tiers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An entry of the local tier; frozen. */
export interface LocalEntry {
  readonly key: string;
  /** The record's text. */
  readonly text: string;
  readonly version: Version;
  readonly origin: Origin;
  /** Epoch milliseconds. */
  readonly storedMs: number;
  readonly ttlMs: number;
  /** How much longer than `ttlMs` it is kept, for answers that say they are stale; the reader tells them apart. */
  readonly keepMs?: number;
}

/** The local tier of this instance: readable entries, and beside them provisional ones that no reader sees. */
export interface LocalTier {
  /** Writes provisional entries that belong to `token` (an execution). */
  stage(entries: readonly LocalEntry[], token: string): Promise<void>;
  /** Reads provisional entries back, in order of the keys, overtaken ones too; undefined where there is none of this token. */
  staged(keys: readonly string[], token: string): Promise<(LocalEntry | undefined)[]>;
  /**
   * After Redis took the write: the provisional entry becomes readable if it still belongs to `token`, has that version,
   * was not overtaken and is not older than the readable one; else an older readable entry is dropped. It overtakes what
   * other executions hold.
   */
  promote(entries: readonly LocalEntry[], token: string): void;
  /** Drops the provisional entry of `token`; with `readable` also the readable one if it is older than `version` (or always, without version). */
  discard(key: string, token: string, readable?: { readonly version: Version | null }): void;
  /**
   * Somebody wrote the key, or it was read from Redis: what executions of this instance hold provisionally of it, and is not
   * newer nor that very write, will not become readable when Redis answers them late, since nothing would correct it any more.
   *
   * @param by the version and message of what was written or read; null: a delete that has none, behind which nothing can be told apart
   */
  overtake(key: string, by: { readonly version: Version; readonly origin: Origin } | null): void;
  /**
   * A delete: drops the readable entry unless it is newer than the version (always dropped without one), and overtakes what
   * executions hold.
   */
  evict(key: string, version: Version | null): void;
  get(key: string): Promise<LocalEntry | undefined>;
  getMany(keys: readonly string[]): Promise<(LocalEntry | undefined)[]>;
  /** The readable entry at once; the look does not count as a use. */
  peek(key: string): LocalEntry | undefined;
  /** Adds an entry read from Redis, unless a newer one is there. */
  fill(entry: LocalEntry): Promise<void>;
  clear(): void;
  size(): { readonly entries: number; readonly bytes: number };
  close(): Promise<void>;
}

/** One decision asked of the Redis tier. */
export interface TierWrite {
  readonly key: string;
  readonly op: Operation;
  /** The record's text; '' for a delete. */
  readonly text: string;
  /** null only for a delete that knows none: it takes the fence's. */
  readonly version: Version | null;
  readonly origin: Origin;
  /** 0: no expiry. */
  readonly ttlMs: number;
  readonly fenceTtlMs: number;
  /** The fence before the fetch (null: none); undefined: not looked at. With `version: null` it must be unchanged. */
  readonly seen: string | null | undefined;
}

export type TierResult =
  /** `note`: something to count and to name in the trail (`unfencedValue`: a value without fence was replaced). */
  | { readonly kind: 'set' | 'same' | 'evicted'; readonly note: '' | 'unfencedValue' | 'unfencedInline' }
  /** Something newer (or a delete of the same version) is there; `by` is the message id that wrote it. */
  | {
      readonly kind: 'refused';
      readonly by: string;
      readonly version: string;
      readonly reason: 'older' | 'tombstone' | 'tie';
    }
  /** The fence is not what was seen before the fetch: read again. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'kindMismatch'; readonly stored: string }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

export interface StoredRecord {
  readonly text: string;
  /** The fence's text, see docs/versions.md; null: none. */
  readonly fence: string | null;
  /** Remaining time to live; -1: no expiry. */
  readonly ttlMs: number;
}

/** The Redis tier: nothing writes it except through `write`. */
export interface RedisTier {
  /** Fences as they stand, null where there is none; one round trip. */
  fences(keys: readonly string[]): Promise<(string | null)[]>;
  /**
   * One decision per write, in order (keys are distinct); one script call on a single Redis.
   *
   * @param as the name under which the writes are announced in the invalidation log; left out: the tier's
   */
  write(writes: readonly TierWrite[], as?: string): Promise<TierResult[]>;
  read(keys: readonly string[]): Promise<(StoredRecord | null)[]>;
  /**
   * Puts a record whose version nobody knows where neither value nor fence is; false: one of them is there. It lives
   * `ttlMs`, has no fence, and any versioned write replaces it.
   */
  fillUnversioned(key: string, text: string, ttlMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/** The Redis tier for those who only look. */
export type RedisTierView = Pick<RedisTier, 'fences' | 'read'>;

/** What an instance finds when it wants a key's lease. */
export type LeaseState =
  | { readonly kind: 'acquired' }
  /** Another instance asks the source just now. */
  | { readonly kind: 'held' }
  /** Another instance asked a short while ago: the source has no such record, or failed. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: CachewrightError };

/** What the holder leaves behind: nothing (the result is in Redis, or another may try), or how it ended, for a while. */
export type LeaseWord =
  | { readonly kind: 'free' }
  | { readonly kind: 'absent'; readonly ttlMs: number }
  | { readonly kind: 'failed'; readonly error: CachewrightError; readonly ttlMs: number };

/** Leases: of all instances one asks the source for a key. They end by themselves when their holder dies. */
export interface ReadLeases {
  /** One answer per key, in order. A rejection says nothing about any of them. @throws `E_REDIS_READ` */
  acquire(keys: readonly string[], token: string, leaseMs: number): Promise<LeaseState[]>;
  /** Looks without taking; undefined: nobody holds it. @throws `E_REDIS_READ` */
  look(key: string): Promise<Exclude<LeaseState, { kind: 'acquired' }> | undefined>;
  /** Lets those that are still the token's live for `leaseMs` from now. */
  renew(keys: readonly string[], token: string, leaseMs: number): Promise<void>;
  /** Ends a lease if it is still the token's. */
  release(key: string, token: string, word: LeaseWord): Promise<void>;
}

// ── Coherence of local tiers ────────────────────────────────────────────────────────────────────────────────────────

/** What a write announced: this key now stands at this version, or was deleted at it. */
export interface Invalidation {
  readonly key: string;
  readonly isDelete: boolean;
  /** null: a delete that knows none, or a key of which nothing is known any more (its fence was reset): drop it. */
  readonly version: Version | null;
  readonly origin: Origin;
}

/** A place in the invalidation log: how many keys were announced since the log began. */
export interface LogPosition {
  /** Names the log: a counter that was lost begins another one. '' when nothing was ever announced. */
  readonly epoch: string;
  readonly sequence: number;
}

/** One group of writes, as its writer announced it. */
export interface LogEntry extends LogPosition {
  /** Where the log stood before it: anything else than the position of the last entry read means that some were missed. */
  readonly after: number;
  /** Whose write it was, as it was announced. */
  readonly writer: string;
  /** Taken apart only when asked for: most of an instance's own entries are not. @throws `E_FORMAT_NEWER` */
  changes(): readonly Invalidation[];
}

/** The log's end, and which servers stand behind it: others may hold older data. */
export interface LogEnd extends LogPosition {
  readonly servers: string;
}

/** The invalidation log of the cache's Redis. A rejection says that nothing is known: look at its end anew. */
export interface InvalidationLog {
  /** Names the servers and the log's end. Waits for nothing. */
  end(): Promise<LogEnd>;
  /** Entries behind the position, oldest first; waits for the first at most `waitMs`, then answers with none. */
  read(after: LogPosition, waitMs: number): Promise<readonly LogEntry[]>;
  /** For changes that no write of the tier announces, like a reset fence: every instance takes them as another's. */
  announce(changes: readonly Invalidation[]): Promise<void>;
  /** Ends a waiting `read` with a rejection. */
  close(): Promise<void>;
}

/** Why a local tier was emptied: some change may have passed unseen. */
export type ResyncReason =
  /** The first look. */
  | 'start'
  /** The connection was lost, or did not answer. */
  | 'reconnect'
  /** Another server answers than before, or a master of the cluster is another one: it may hold older data. */
  | 'server'
  /** Entries are missing: they were trimmed or deleted before they were read. */
  | 'gap'
  /** The counter is gone, went back or began anew. */
  | 'counter'
  /** An entry that this program cannot read. */
  | 'format';

/** How this instance's local tier followed the log, as counters since the start. */
export interface CoherenceStats {
  readonly state: 'fresh' | 'blind';
  /** Since the log was asked for what it answered last, milliseconds; null: never. */
  readonly heardMsAgo: number | null;
  readonly resyncs: Readonly<Record<ResyncReason, number>>;
  /** Entries of the log: of other instances, and of this one. */
  readonly entries: number;
  readonly ownEntries: number;
  /** Local entries that a change replaced by what Redis has. */
  readonly refreshed: number;
  /** Local entries that a change took away. */
  readonly dropped: number;
}

/** An entry for the local tier, and its key's generation from before it was read. */
export interface Fill {
  readonly entry: LocalEntry;
  readonly generation: number;
}

/**
 * What the read path asks about the local tier it reads and fills.
 *
 * A fill takes the key's generation *before* it reads what it is going to keep, from Redis or from a source, and hands it to
 * {@link fill}. The generation moves with every change of the key, by this instance or another, and with every resync.
 */
export interface Coherence {
  /** `blind`: nothing was heard from the log for `local.blindMs`; entries of the local tier may be older than Redis. */
  state(): 'fresh' | 'blind';
  generationOf(key: string): number;
  isCurrent(key: string, generation: number): boolean;
  /** Puts the entry into the local tier unless the key has changed since; resolves to whether it is there. */
  fill(entry: LocalEntry, generation: number): Promise<boolean>;
  /** The same for what was read together, in their order: none of them counts as a change of another. */
  fillMany(fills: readonly Fill[]): Promise<readonly boolean[]>;
  stats(): CoherenceStats;
}

// ── Audit ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface AuditQuery {
  readonly service?: string;
  readonly recordId?: string;
  readonly key?: string;
  readonly message?: string;
  readonly job?: string;
  /** State the execution left the run in. */
  readonly state?: string;
  /** Code of the error the execution left the run with. */
  readonly errorCode?: string;
  /** Executions that ended at or after this time, epoch milliseconds. */
  readonly sinceMs?: number;
  /** Executions that ended at or before this time, epoch milliseconds. */
  readonly untilMs?: number;
  /** At most this many, newest first cut, returned oldest first. */
  readonly limit: number;
}

/** One entry of the outbox as the store takes it. */
export interface OutboxEntry {
  /** Redis stream id, `ms-seq`. */
  readonly id: string;
  /** JSON of {@link AuditEntry}. */
  readonly json: string;
}

/** An outbox stream as its reader sees it. What was handled is removed, so that its head is always what is to be done next. */
export interface Outbox {
  readonly name: string;
  /** The oldest entries, at most `count`. */
  read(count: number): Promise<OutboxEntry[]>;
  /** Removes exactly these entries; ids that are gone are no fault. */
  remove(ids: readonly string[]): Promise<void>;
  length(): Promise<number>;
  close(): Promise<void>;
}

/** How far the audit store is behind the executions. */
export interface AuditLag {
  /** Entries (one per execution) in the outbox. */
  readonly entries: number;
  /** Age of the oldest of them, milliseconds. */
  readonly ageMs: number;
}

/** Where trails end up. Two adapters (SQLite, Postgres) are held to one contract suite. */
export interface AuditStore {
  /**
   * Stores entries and the outbox cursor in one transaction; the first row of a (message, epoch, redrive, job, execution,
   * start of the execution) wins. The same execution with another start ran after a rollback of Redis, and is kept too.
   * An entry that cannot be read is kept as text among the defects. Stops before an entry of a newer format: look at the cursor.
   *
   * @returns rows added
   * @throws `E_FORMAT_NEWER` when the first entry already has a newer format; `E_AUDIT_STORE`: nothing was stored
   */
  append(outbox: string, entries: readonly OutboxEntry[]): Promise<number>;
  /** The last outbox id stored, '0-0' at first. Goes back when the ids of the outbox do. */
  cursor(outbox: string): Promise<string>;
  find(query: AuditQuery): Promise<AuditRecord[]>;
  /** Rows: one per message and execution. */
  count(): Promise<number>;
  close(): Promise<void>;
}

/** The asking side of an audit store. */
export type AuditReader = Pick<AuditStore, 'find' | 'count' | 'close'>;

/** An outbox entry that could not be read; its text is kept. */
export interface AuditDefect {
  readonly outbox: string;
  readonly id: string;
  readonly reason: string;
}
