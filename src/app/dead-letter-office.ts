import { createDeadLetterBox } from '../adapters/bullmq-dead-letter-box.ts';
import { queueKeys } from '../adapters/bullmq-closing-script.ts';
import type { RedisClient } from '../adapters/redis-connection.ts';
import type { DeadLetterOffice, Forecast } from '../core/dead-letter.ts';
import type { ChunkQueue, DeadLetterBox } from '../core/ports.ts';
import { discard } from '../dead-letters/discard.ts';
import { planRedrive, readBatch, redrive } from '../dead-letters/redrive.ts';
import { groupLetters, selectLetters } from '../dead-letters/select.ts';
import { createRehearsal, type RehearsalSettings } from './rehearse-redrive.ts';

export interface OfficeSettings extends Omit<RehearsalSettings, 'limits'> {
  /** The queue's Redis, failing fast. */
  readonly redis: RedisClient;
  readonly prefix: string;
  /** BullMQ's name of the queue of chunks. */
  readonly queueName: string;
  readonly queue: Pick<ChunkQueue, 'enqueue'>;
  readonly limits: RehearsalSettings['limits'] & {
    readonly maxChunkMessages: number;
    readonly maxChunkBytes: number;
  };
  readonly maxRedrives: number;
}

/** The dead letters of a queue, for the command and for HTTP. */
export function openDeadLetterOffice(
  settings: OfficeSettings,
  box: DeadLetterBox = boxOf(settings),
): DeadLetterOffice {
  const parts = { ...settings, box };
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
      const plan = await planRedrive(parts, await selectLetters(box, selection), options);
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
      const plan = await planRedrive(parts, await selectLetters(box, selection), options);
      return redrive(parts, plan, options);
    },
    async discard(selection, options) {
      return discard(parts, await selectLetters(box, selection), options);
    },
    close: () => box.close(),
  };
}

function boxOf({ redis, prefix, queueName, clock, log }: OfficeSettings): DeadLetterBox {
  return createDeadLetterBox({ redis, prefix, chunks: queueKeys(prefix, queueName), clock, log });
}
