/**
 * Follows the invalidation log, so that this instance's local tier is right within milliseconds of a write by any instance,
 * and is emptied when a write may have passed unseen.
 */
import { compareEntries } from '../core/entry-order.ts';
import { asError, reasonOf } from '../core/errors.ts';
import type {
  Clock,
  Coherence,
  Invalidation,
  InvalidationLog,
  LocalTier,
  Log,
  LogEnd,
  LogEntry,
  RedisTier,
  ResyncReason,
} from '../core/ports.ts';
import { createFills } from './fills.ts';
import type { Generations } from './generations.ts';
import type { EntryLife } from './local-entry.ts';
import { createOwnEntries, type OwnWriteStates } from './own-writes.ts';
import { createRefresher } from './refresher.ts';

/** What an instance does about a change of a key that it holds. */
export interface FollowRule extends EntryLife {
  /** `refresh`: read it from Redis. `drop`: the next reader does. */
  readonly onChange: 'refresh' | 'drop';
}

export interface Follower extends Coherence {
  /** Begins to follow; resolves when the log was found, or the signal fires. Loses and finds it by itself from then on. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface FollowerOptions {
  readonly log: InvalidationLog;
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly generations: Generations;
  /** The rule of the service a key belongs to; undefined: of none that this instance knows. */
  readonly ruleOf: (key: string) => FollowRule | undefined;
  /** The writes of this instance, which offers them to the local tier by itself. */
  readonly ownWrites: OwnWriteStates;
  /** Silence after which the local tier is not trusted any more, milliseconds. */
  readonly blindMs: number;
  readonly clock: Clock;
  readonly logger: Log;
}

/** How often a silent log is looked after, at most; and a busy one. */
export const BEAT_MS = 1_000;
const CHECK_MS = 5_000;
/** Between two attempts to find a lost log. */
const RETRY_MS = 100;
/** Attempts to find it first, before it is said that it is not there. */
const PATIENCE = 10;

const told: Readonly<Record<ResyncReason, string>> = {
  start: 'following the invalidation log',
  reconnect: 'the connection to the invalidation log was lost',
  server: 'another Redis answers than before',
  gap: 'entries of the invalidation log were gone before they were read',
  counter: 'the counter of the invalidation log was lost or went back',
  format: 'the invalidation log holds an entry that this version cannot read',
};

export function createFollower(options: FollowerOptions): Follower {
  return new LogFollower(options);
}

class LogFollower implements Follower {
  readonly generationOf: Coherence['generationOf'];
  readonly isCurrent: Coherence['isCurrent'];
  readonly fill: Coherence['fill'];
  readonly fillMany: Coherence['fillMany'];
  readonly #options: FollowerOptions;
  readonly #refresher;
  readonly #own;
  readonly #stop = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  readonly #resyncs = { start: 0, reconnect: 0, server: 0, gap: 0, counter: 0, format: 0 };
  #running: Promise<void> | undefined;
  #at: LogEnd = { epoch: '', sequence: 0, servers: '' };
  /** When what the log answered last was asked: an answer may be long under way, and tells nothing of that time. */
  #heardMs: number | undefined;
  #checkedMs = 0;
  #entries = 0;
  #ownEntries = 0;
  #refreshed = 0;
  #dropped = 0;

  constructor(options: FollowerOptions) {
    this.#options = options;
    const fills = createFills(options.localTier, options.generations);
    this.generationOf = fills.generationOf;
    this.isCurrent = fills.isCurrent;
    this.fill = fills.fill;
    this.fillMany = fills.fillMany;
    this.#own = createOwnEntries(options.ownWrites, options.clock);
    this.#refresher = createRefresher({
      ...options,
      fills,
      log: options.logger,
      onRefreshed: () => (this.#refreshed += 1),
      onDropped: () => (this.#dropped += 1),
    });
  }

  state(): 'fresh' | 'blind' {
    const { clock, blindMs } = this.#options;
    return this.#heardMs !== undefined && clock.now() - this.#heardMs <= blindMs ? 'fresh' : 'blind';
  }

  stats(): ReturnType<Coherence['stats']> {
    return {
      state: this.state(),
      heardMsAgo: this.#heardMs === undefined ? null : this.#options.clock.now() - this.#heardMs,
      resyncs: { ...this.#resyncs },
      entries: this.#entries,
      ownEntries: this.#ownEntries,
      refreshed: this.#refreshed,
      dropped: this.#dropped,
    };
  }

  async start(): Promise<void> {
    this.#running ??= this.#run();
    await this.#started.promise;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#started.resolve();
    await this.#options.log.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#options;
    let reason: ResyncReason | undefined = 'start';
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        if (reason !== undefined) await this.#resync(reason);
        if (failures > 0 && reason !== 'start') logger.info({}, 'the invalidation log is back');
        failures = 0;
        this.#started.resolve();
        reason = await this.#follow();
      } catch (thrown) {
        if (this.#stop.signal.aborted) return;
        // Before the first look there is nothing to lose.
        if (reason !== 'start') reason = 'reconnect';
        failures += 1;
        // The first look may be early: the connection is just being made.
        if (failures === (reason === 'start' ? PATIENCE : 1)) {
          logger.warn({ reason: reasonOf(thrown) }, 'the invalidation log cannot be read; trying on');
        }
        await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => undefined);
      }
    }
  }

  /** The log's end is looked at before the tier is emptied: what is announced in between is read afterwards. */
  async #resync(reason: ResyncReason): Promise<void> {
    const { log, localTier, logger, clock } = this.#options;
    const askedMs = clock.now();
    const end = await log.end();
    const actual = reason === 'reconnect' && end.servers !== this.#at.servers ? 'server' : reason;
    this.#refresher.clear();
    this.#own.clear();
    localTier.clear();
    this.#at = end;
    this.#resyncs[actual] += 1;
    this.#heardMs = askedMs;
    this.#checkedMs = clock.now();
    if (actual === 'start') logger.debug({ position: end.sequence }, told.start);
    else logger.warn({ resync: actual }, `${told[actual]}: the local tier was emptied`);
  }

  /** One answer of the log; returns why the local tier cannot be trusted any more, if so. */
  async #follow(): Promise<ResyncReason | undefined> {
    const { log, clock, blindMs } = this.#options;
    const askedMs = clock.now();
    const entries = await log.read(this.#at, Math.min(BEAT_MS, blindMs / 4));
    const problem = this.#take(entries);
    if (problem !== undefined) return problem;
    if (entries.length === 0 || clock.now() - this.#checkedMs > CHECK_MS) return this.#check();
    this.#hear(askedMs);
    return undefined;
  }

  #hear(askedMs: number): void {
    // What waited for Redis all that time is older than `blindMs` by now.
    if (this.state() === 'blind') this.#refresher.drop();
    this.#heardMs = askedMs;
  }

  #take(entries: readonly LogEntry[]): ResyncReason | undefined {
    for (const entry of this.#own.overdue()) {
      const problem = this.#apply(entry);
      if (problem !== undefined) return problem;
    }
    for (const entry of entries) {
      if (this.#at.epoch !== '' && entry.epoch !== this.#at.epoch) return 'counter';
      if (entry.after !== this.#at.sequence) return 'gap';
      const problem = this.#own.takes(entry) ? this.#passOver() : this.#apply(entry);
      if (problem !== undefined) return problem;
      this.#at = { ...this.#at, epoch: entry.epoch, sequence: entry.sequence };
    }
    return undefined;
  }

  /** Looks whether the log still is the one that is followed, and whether something is missing at its end. */
  async #check(): Promise<ResyncReason | undefined> {
    const { log, clock } = this.#options;
    const askedMs = clock.now();
    const end = await log.end();
    this.#checkedMs = clock.now();
    if (end.servers !== this.#at.servers) return 'server';
    const isSame = end.epoch === this.#at.epoch || this.#at.epoch === '';
    if (!isSame || end.sequence < this.#at.sequence) return 'counter';
    if (end.sequence > this.#at.sequence) {
      const missed = await log.read(this.#at, 0);
      if (missed.length === 0) return 'gap';
      const problem = this.#take(missed);
      if (problem !== undefined) return problem;
    }
    this.#hear(askedMs);
    return undefined;
  }

  #passOver(): undefined {
    this.#ownEntries += 1;
  }

  #apply(entry: LogEntry): ResyncReason | undefined {
    this.#entries += 1;
    let changes: readonly Invalidation[];
    try {
      changes = entry.changes();
    } catch (thrown) {
      this.#options.logger.error({ code: asError(thrown).code }, asError(thrown).message);
      return 'format';
    }
    for (const change of changes) this.#change(change);
    return undefined;
  }

  #change({ key, isDelete, version, origin }: Invalidation): void {
    const { localTier, generations, ruleOf } = this.#options;
    generations.bump(key);
    const held = localTier.peek(key);
    if (isDelete || version === null) {
      localTier.evict(key, version);
      if (held !== undefined && localTier.peek(key) === undefined) this.#dropped += 1;
      return;
    }
    localTier.overtake(key, { version, origin });
    if (held === undefined) return;
    if (compareEntries(held, { version, origin }) >= 0) return;
    // Heard of too late, it must not be served until Redis has answered: by then it would be older than `blindMs`.
    const rule = this.state() === 'fresh' ? ruleOf(key) : undefined;
    if (rule?.onChange === 'refresh' && this.#refresher.add(key, rule)) return;
    localTier.discard(key, '', { version: null });
    this.#dropped += 1;
  }
}
