import type { DeadLetterOffice, Forecast } from '../core/dead-letter.ts';
import type { ChunkQueue, DeadLetterBox } from '../core/ports.ts';
import { discard } from '../dead-letters/discard.ts';
import { planRedrive, readBatch, redrive } from '../dead-letters/redrive.ts';
import { groupLetters, selectLetters } from '../dead-letters/select.ts';
import { createRehearsal, type RehearsalSettings } from './rehearse-redrive.ts';

export interface OfficeSettings extends Omit<RehearsalSettings, 'limits'> {
  /** Closed with the office. */
  readonly box: DeadLetterBox;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  readonly limits: RehearsalSettings['limits'] & {
    readonly maxChunkMessages: number;
    readonly maxChunkBytes: number;
  };
  readonly maxRedrives: number;
}

/** The dead letters of a queue, for the command and for HTTP. */
export function openDeadLetterOffice(settings: OfficeSettings): DeadLetterOffice {
  const { box } = settings;
  return {
    async list(selection, limit) {
      const heads = await selectLetters(box, selection);
      return { total: heads.length, groups: groupLetters(heads), letters: heads.slice(0, limit) };
    },
    async show(message) {
      const heads = await selectLetters(box, { message });
      return (await readBatch(box, heads)).map(({ letter }) => letter);
    },
    async rehearse(selection, options) {
      const plan = await planRedrive(settings, await selectLetters(box, selection), options);
      const rehearse = createRehearsal(settings);
      const forecasts: Forecast[] = [];
      try {
        for (const batch of plan.batches) {
          forecasts.push(...(await rehearse(await readBatch(box, batch))));
          options.onProgress?.(forecasts.length, plan.planned);
        }
      } finally {
        await rehearse.close();
      }
      const outcomes: Record<string, number> = {};
      for (const { state } of forecasts) outcomes[state] = (outcomes[state] ?? 0) + 1;
      const gone = plan.planned - forecasts.length;
      return { ...plan.left, redriven: 0, gone, isInterrupted: false, outcomes, forecasts };
    },
    async redrive(selection, options) {
      const plan = await planRedrive(settings, await selectLetters(box, selection), options);
      return redrive(settings, plan, options);
    },
    async discard(selection, options) {
      return discard(settings, await selectLetters(box, selection), options);
    },
    close: () => box.close(),
  };
}
