import type { Authorship, DiscardReport, LetterHead, RedriveOptions } from '../core/dead-letter.ts';
import type { Clock, DeadLetterBox } from '../core/ports.ts';
import { actionEntryOf } from './action-entry.ts';
import { idOfLetters, planBatches } from './plan.ts';
import { lettersUnderWay, readBatch } from './redrive.ts';

/** Letters of one record in the audit. */
const LIMITS = { maxChunkMessages: 1_000, maxChunkBytes: 1024 ** 2 };

/**
 * Takes letters away for good, on record: who, when and why. The record is written first, so that no letter vanishes
 * without one.
 */
export async function discard(
  { box, clock }: { readonly box: DeadLetterBox; readonly clock: Clock },
  heads: readonly LetterHead[],
  { by, reason, force, limit }: Authorship & Pick<RedriveOptions, 'force' | 'limit'>,
): Promise<DiscardReport> {
  const underWay = force ? new Set<LetterHead>() : await lettersUnderWay(box, heads);
  const idle = heads.filter((head) => !underWay.has(head));
  const taken = idle.slice(0, limit);
  let discarded = 0;
  for (const batch of planBatches(taken, LIMITS)) {
    const stored = await readBatch(box, batch);
    if (stored.length === 0) continue;
    const letters = stored.map(({ letter }) => letter);
    const redrive = letters[0]?.redrive ?? 0;
    const job = `discard.${redrive}.${idOfLetters(letters)}`;
    await box.record([actionEntryOf('discarded', letters, { by, reason, job, redrive, nowMs: clock.now() })]);
    discarded += await box.remove(stored.map(({ id }) => id));
  }
  return {
    selected: heads.length,
    discarded,
    underWay: underWay.size,
    gone: taken.length - discarded,
    remaining: idle.length - taken.length,
  };
}
