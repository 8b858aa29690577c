import { type Job, Worker } from 'bullmq';
import { within } from '../core/within.ts';

/** An execution that has run for so long is not waited for; milliseconds. */
const QUICK_MS = 5;

/**
 * BullMQ's worker with fewer looks for a job. For each job that comes alone its loop looks three times: when the marker
 * wakes it, for a second job before it starts the first, and for the marker which taking a job leaves behind. Each is a
 * round trip, and the first job waits for the second look. Left out are
 *
 * - the second look: whoever takes a job leaves the marker, so the wait that follows ends at once when there is more;
 * - a look that comes while a quick execution runs: ending it looks, too. A look that is left out must have another in
 *   its place that Redis is asked *after* the marker was taken; else a job would lie there until the next one comes.
 *
 * Read against bullmq 6.7: `mainLoop`, `_getNextJob`, `processJob`.
 */
export class PromptWorker extends Worker {
  /** Numbers looks and waits in the order in which they begin. */
  #moment = 0;
  /** When the last look that was answered began. */
  #looked = 0;
  #hasJustTaken = false;
  /** Tokens of executions: what looks with one of these is the end of an execution, not the loop. */
  readonly #running = new Set<string>();
  #newest: { readonly ended: Promise<unknown>; readonly sinceMs: number } | undefined;

  override processJob(...args: Parameters<Worker['processJob']>): ReturnType<Worker['processJob']> {
    const [, token] = args;
    this.#hasJustTaken = false;
    this.#running.add(token);
    const ended = super.processJob(...args).finally(() => this.#running.delete(token));
    this.#newest = { ended, sinceMs: performance.now() };
    return ended;
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    if (this.#running.has(token)) return super.moveToActive(token, name);
    if (this.#hasJustTaken) {
      this.#hasJustTaken = false;
      return this.nextJobFromJobData();
    }
    const moment = (this.#moment += 1);
    await this.#untilNewestEnds();
    // Without data: nothing is there, as far as the loop is concerned.
    if (this.#looked > moment) return this.nextJobFromJobData();
    // Undefined when there is none, whatever its type says.
    const job: Job | undefined = await super.moveToActive(token, name);
    this.#hasJustTaken = job !== undefined;
    return job;
  }

  protected override async handleCompleted(
    result: unknown,
    job: Job,
    token: string,
    looksForNext: () => boolean = () => true,
    ...more: [Parameters<Worker['handleCompleted']>[4]?]
  ): Promise<Job> {
    const moment = (this.#moment += 1);
    const looks = looksForNext();
    const next = await super.handleCompleted(result, job, token, () => looks, ...more);
    if (looks) this.#looked = Math.max(this.#looked, moment);
    return next;
  }

  async #untilNewestEnds(): Promise<void> {
    if (this.#newest === undefined) return;
    const { ended, sinceMs } = this.#newest;
    const leftMs = QUICK_MS - (performance.now() - sinceMs);
    if (leftMs > 0) await within(ended, leftMs).catch(() => undefined);
  }
}
