/**
 * The queue's Redis as BullMQ and our closing script use it: jobs, locks with an expiry, the stalled check, and the two
 * outboxes. Every method is one step, as one script is; errors are those of a lost lock.
 */
import type { ClosingScript, Left } from '../../../src/adapters/bullmq-closing-script.ts';
import type { ChunkData } from '../../../src/core/chunk.ts';
import { DEAD_LETTER_FORMAT, type Settlement } from '../../../src/core/dead-letter.ts';
import type { Clock, DeadLetter, OutboxEntry, QueuedChunk } from '../../../src/core/ports.ts';

interface Job {
  readonly id: string;
  readonly name: string;
  /** JSON, as Redis keeps it. */
  data: string;
  place: 'wait' | 'active' | 'delayed';
  dueMs: number;
  attemptsStarted: number;
  lock: { readonly token: string; readonly untilMs: number } | undefined;
  closed: number;
  begun: number;
  passed: string;
  progress: string;
}

/** A job as a worker gets it. */
export interface TakenJob {
  readonly id: string;
  readonly name: string;
  readonly data: ChunkData;
  readonly attemptsStarted: number;
}

export interface JobClosing {
  readonly execution: number;
  /** JSON of what stays in the job. */
  readonly data: string;
  readonly audit: readonly string[];
  readonly deadLetters: readonly DeadLetter[];
  readonly settled: readonly string[];
}

interface State {
  readonly jobs: Map<string, Job>;
  readonly wait: string[];
  readonly finished: string[];
  readonly marked: Set<string>;
  readonly audit: OutboxEntry[];
  readonly dead: (DeadLetter | Settlement)[];
}

export class LockLost extends Error {
  constructor(job: string) {
    super(`the lock of ${job} is not this token's`);
  }
}

export class JobServer {
  readonly #clock: Clock;
  /** How many finished jobs are known: an id is ignored only as long as its job is. */
  readonly #keep: number;
  #state: State = { jobs: new Map(), wait: [], finished: [], marked: new Set(), audit: [], dead: [] };
  #checkedMs = Number.NEGATIVE_INFINITY;
  #entries = 0;
  readonly #waiters = new Set<() => void>();

  constructor(options: { readonly clock: Clock; readonly keep: number }) {
    this.#clock = options.clock;
    this.#keep = options.keep;
  }

  get audit(): OutboxEntry[] {
    return this.#state.audit;
  }

  /** Letters, and what says of some that they are settled. */
  get deadOutbox(): readonly (DeadLetter | Settlement)[] {
    return this.#state.dead;
  }

  get dead(): readonly DeadLetter[] {
    return this.#state.dead.flatMap((entry) => ('settled' in entry ? [] : [entry]));
  }

  get size(): number {
    return this.#state.jobs.size;
  }

  get bytes(): number {
    return [...this.#state.jobs.values()].reduce((sum, { data }) => sum + data.length, 0);
  }

  /** In any state, finished too as long as it is known. */
  has(id: string): boolean {
    return this.#state.jobs.has(id) || this.#state.finished.includes(id);
  }

  /** Jobs as they stand, for whoever wants to know why a run does not settle. */
  describe(): string[] {
    return [...this.#state.jobs.values()].map(
      (job) => `${job.id} ${job.place} due ${job.dueMs} ${job.data.slice(0, 200)}`,
    );
  }

  /** @param most only so many are taken: `addBulk` is a pipeline and may be cut in the middle */
  add(chunks: readonly QueuedChunk[], most = chunks.length): void {
    const { jobs, wait } = this.#state;
    for (const { id, name, data } of chunks.slice(0, most)) {
      if (this.has(id)) continue;
      const json = JSON.stringify(data);
      jobs.set(id, {
        id,
        name,
        data: json,
        place: 'wait',
        dueMs: 0,
        attemptsStarted: 0,
        lock: undefined,
        closed: 0,
        begun: 0,
        passed: '',
        progress: '',
      });
      wait.push(id);
    }
    this.#wake();
  }

  take(token: string, lockMs: number): TakenJob | undefined {
    this.#promote();
    const id = this.#state.wait.shift();
    const job = id === undefined ? undefined : this.#state.jobs.get(id);
    if (job === undefined) return undefined;
    job.place = 'active';
    job.attemptsStarted += 1;
    job.lock = { token, untilMs: this.#clock.now() + lockMs };
    return {
      id: job.id,
      name: job.name,
      data: JSON.parse(job.data) as ChunkData,
      attemptsStarted: job.attemptsStarted,
    };
  }

  /** Returns the jobs whose locks are lost. */
  renew(held: readonly { readonly id: string; readonly token: string }[], lockMs: number): string[] {
    return held
      .filter(({ id, token }) => {
        const job = this.#state.jobs.get(id);
        if (job === undefined || !this.#isLocked(job, token)) return true;
        job.lock = { token, untilMs: this.#clock.now() + lockMs };
        this.#state.marked.delete(id);
        return false;
      })
      .map(({ id }) => id);
  }

  /** An active job without a lock at two checks in a row goes back to those that wait, as the first of them. */
  checkStalled(intervalMs: number): void {
    if (this.#clock.now() - this.#checkedMs < intervalMs) return;
    this.#checkedMs = this.#clock.now();
    const { marked, jobs, wait } = this.#state;
    for (const id of marked) {
      const job = jobs.get(id);
      if (job?.place !== 'active' || this.#lockOf(job) !== undefined) continue;
      job.place = 'wait';
      job.lock = undefined;
      wait.unshift(id);
    }
    marked.clear();
    for (const job of jobs.values()) if (job.place === 'active') marked.add(job.id);
    this.#wake();
  }

  close(id: string, token: string, closing: JobClosing): 'closed' | 'repeated' | 'lost' {
    const job = this.#heldBy(id, token, closing.execution);
    if (job === undefined) return 'lost';
    if (job.closed === closing.execution) return 'repeated';
    job.data = closing.data;
    job.closed = closing.execution;
    job.begun = 0;
    for (const json of closing.audit) {
      this.#entries += 1;
      this.#state.audit.push({ id: `${Math.floor(this.#clock.now())}-${this.#entries}`, json });
    }
    this.#state.dead.push(...closing.deadLetters);
    if (closing.settled.length > 0)
      this.#state.dead.push({ format: DEAD_LETTER_FORMAT, settled: closing.settled });
    return 'closed';
  }

  note({ job: id, token, execution, field, value }: Parameters<ClosingScript['note']>[0]): void {
    const job = this.#heldBy(id, token, execution);
    if (job === undefined) return;
    if (field === 'begun') job.begun += 1;
    else job[field] = value;
  }

  left(id: string): Left {
    const { closed = 0, begun = 0, passed = '', progress = '' } = this.#state.jobs.get(id) ?? {};
    const executions = passed.split(' ').map(Number);
    return { closed, begun, passed: executions.filter((execution) => execution > closed), progress };
  }

  complete(id: string, token: string): void {
    this.#unlock(this.#locked(id, token));
    this.#state.jobs.delete(id);
    this.#state.finished.push(id);
    if (this.#state.finished.length > this.#keep) this.#state.finished.shift();
  }

  moveToDelayed(id: string, token: string, dueMs: number): void {
    const job = this.#locked(id, token);
    this.#unlock(job);
    job.place = 'delayed';
    job.dueMs = dueMs;
    this.#wake();
  }

  /** As the first of those that wait. */
  moveToWait(id: string, token: string): void {
    const job = this.#locked(id, token);
    this.#unlock(job);
    job.place = 'wait';
    this.#state.wait.unshift(id);
    this.#wake();
  }

  /** Resolves when a job may have come, or after `mostMs`. */
  async changed(mostMs: number): Promise<void> {
    this.#promote();
    if (this.#state.wait.length > 0) return;
    const delayed = [...this.#state.jobs.values()].filter(({ place }) => place === 'delayed');
    const nextMs = Math.min(...delayed.map(({ dueMs }) => dueMs)) - this.#clock.now();
    const woken = Promise.withResolvers<void>();
    const stop = new AbortController();
    this.#waiters.add(woken.resolve);
    const slept = this.#clock
      .sleep(Math.max(1, Math.min(mostMs, nextMs)), stop.signal)
      .catch(() => undefined);
    await Promise.race([woken.promise, slept]);
    this.#waiters.delete(woken.resolve);
    stop.abort('woken');
  }

  snapshot(): State {
    return structuredClone(this.#state);
  }

  /** As a server that was started from an older AOF. */
  restore(state: State): void {
    this.#state = structuredClone(state);
    this.#wake();
  }

  /** What is due joins the end of the line, first what was due first. */
  #promote(): void {
    const { jobs, wait } = this.#state;
    const due = [...jobs.values()].filter(
      ({ place, dueMs }) => place === 'delayed' && dueMs <= this.#clock.now(),
    );
    for (const job of due.toSorted((a, b) => a.dueMs - b.dueMs)) {
      job.place = 'wait';
      wait.push(job.id);
    }
  }

  #unlock(job: Job): void {
    job.lock = undefined;
    this.#state.marked.delete(job.id);
  }

  #lockOf(job: Job): string | undefined {
    return job.lock !== undefined && job.lock.untilMs > this.#clock.now() ? job.lock.token : undefined;
  }

  #isLocked(job: Job, token: string): boolean {
    return this.#lockOf(job) === token;
  }

  /** By the execution too: a worker uses a token for one after the other. */
  #heldBy(id: string, token: string, execution: number): Job | undefined {
    const job = this.#state.jobs.get(id);
    return job !== undefined && this.#isLocked(job, token) && job.attemptsStarted === execution
      ? job
      : undefined;
  }

  #locked(id: string, token: string): Job {
    const job = this.#state.jobs.get(id);
    if (job === undefined || !this.#isLocked(job, token)) throw new LockLost(id);
    return job;
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }
}
