import { type LetterHead, letterId, type RedriveOptions, type RedriveReport } from '../core/dead-letter.ts';
import { fail } from '../core/errors.ts';
import type { ChunkQueue, Clock, DeadLetterBox, StoredLetter } from '../core/ports.ts';
import { actionEntryOf } from './action-entry.ts';
import { type Batch, chunkOfLetters, planBatches, type PlanLimits } from './plan.ts';

export interface RedriveSettings {
  readonly box: DeadLetterBox;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  readonly machine: string;
  readonly limits: PlanLimits;
  /** How often a message may be redriven before a person has to insist. */
  readonly maxRedrives: number;
  readonly clock: Clock;
}

/** Which of the selected letters are redriven, in which order, and which are left alone. */
export interface RedrivePlan {
  readonly batches: readonly Batch[];
  readonly planned: number;
  readonly left: Pick<RedriveReport, 'selected' | 'underWay' | 'atLimit' | 'remaining'>;
}

/**
 * Plans a redrive of selected letters, the oldest first.
 *
 * @throws `E_REDRIVE_LIMIT` when nothing is left to do but letters at the limit
 */
export async function planRedrive(
  { box, limits, maxRedrives }: Pick<RedriveSettings, 'box' | 'limits' | 'maxRedrives'>,
  heads: readonly LetterHead[],
  { force, limit, perSecond }: Pick<RedriveOptions, 'force' | 'limit' | 'perSecond'>,
): Promise<RedrivePlan> {
  const underWay = force ? new Set<LetterHead>() : await lettersUnderWay(box, heads);
  const idle = heads.filter((head) => !underWay.has(head));
  const allowed = force ? idle : idle.filter(({ redrive }) => redrive < maxRedrives);
  const atLimit = idle.length - allowed.length;
  if (allowed.length === 0 && atLimit > 0) {
    const [first] = idle;
    throw fail('E_REDRIVE_LIMIT', {
      count: atLimit,
      message: first?.message,
      redrives: first?.redrive,
      max: maxRedrives,
      error: first?.error.code,
    });
  }
  const taken = allowed.slice(0, limit);
  const maxChunkMessages =
    perSecond > 0 ? Math.min(limits.maxChunkMessages, perSecond) : limits.maxChunkMessages;
  return {
    batches: planBatches(taken, { ...limits, maxChunkMessages }),
    planned: taken.length,
    left: {
      selected: heads.length,
      underWay: underWay.size,
      atLimit,
      remaining: allowed.length - taken.length,
    },
  };
}

/** Letters whose redriven run is not final yet. */
export async function lettersUnderWay(
  box: DeadLetterBox,
  heads: readonly LetterHead[],
): Promise<Set<LetterHead>> {
  const jobs = new Set(heads.flatMap(({ redriving }) => (redriving === null ? [] : [redriving.job])));
  const open = await box.openJobs([...jobs]);
  return new Set(heads.filter(({ redriving }) => redriving !== null && open.has(redriving.job)));
}

/**
 * Enqueues the messages of planned letters again, chunk by chunk at the rate that was asked for. Of a chunk first the
 * action is recorded, then it is enqueued, then the letters are marked. A crash between any two of these loses nothing: the
 * letters lie where they lay, and the same chunk has the same job id. They leave when the new run has closed.
 */
export async function redrive(
  settings: RedriveSettings,
  plan: RedrivePlan,
  options: RedriveOptions,
): Promise<RedriveReport> {
  const { box, queue, machine, clock } = settings;
  const { perSecond, signal, onProgress, by, reason } = options;
  let [redriven, gone, handled] = [0, 0, 0];
  let nextMs = clock.now();
  for (const batch of plan.batches) {
    if (perSecond > 0) await clock.sleep(Math.max(0, nextMs - clock.now()), signal).catch(() => undefined);
    if (signal?.aborted === true) break;
    const stored = await readBatch(box, batch);
    handled += batch.length;
    gone += batch.length - stored.length;
    if (stored.length === 0) continue;
    const chunk = chunkOfLetters(stored, machine);
    const letters = stored.map(({ letter }) => letter);
    const nowMs = clock.now();
    const author = { by, reason };
    await box.record([
      actionEntryOf('redriven', letters, {
        ...author,
        job: chunk.id,
        redrive: chunk.data.redrive,
        nowMs,
      }),
    ]);
    await queue.enqueue([chunk]);
    await box.mark(letters.map(letterId), { job: chunk.id, by, atMs: Math.floor(nowMs) });
    redriven += letters.length;
    onProgress?.(handled, plan.planned);
    if (perSecond > 0) nextMs = Math.max(nextMs, nowMs) + (letters.length / perSecond) * 1_000;
  }
  const isInterrupted = handled < plan.planned;
  const remaining = plan.left.remaining + plan.planned - handled;
  return { ...plan.left, redriven, gone, remaining, isInterrupted };
}

/** The letters of a batch with their bytes; some may be gone since they were selected. */
export async function readBatch(box: DeadLetterBox, batch: Batch): Promise<StoredLetter[]> {
  const stored = await box.read(batch.map(({ letter }) => letter));
  return stored.filter((letter) => letter !== undefined);
}
