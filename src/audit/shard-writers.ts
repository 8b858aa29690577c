import type { AuditLag, Outbox } from '../core/ports.ts';
import { type AuditWriter, type AuditWriterOptions, createAuditWriter } from './writer.ts';

/** A writer for the outbox of each shard; all write to one store. */
export interface ShardWriters extends AuditWriter {
  /** Begins with one more outbox. */
  follow(outbox: Outbox): void;
}

/** `onLag` is told of all outboxes together. */
export function createShardWriters(
  outboxes: readonly Outbox[],
  options: Omit<AuditWriterOptions, 'outbox'>,
): ShardWriters {
  const lags = new Map<string, AuditLag>();
  const writers: AuditWriter[] = [];
  const running: Promise<void>[] = [];
  let begun: AbortSignal | undefined;

  const add = (outbox: Outbox): void => {
    const onLag = (lag: AuditLag): void => {
      lags.set(outbox.name, lag);
      options.onLag(sumOf([...lags.values()]));
    };
    const writer = createAuditWriter({ ...options, outbox, onLag });
    writers.push(writer);
    if (begun !== undefined) running.push(writer.run(begun));
  };
  for (const outbox of outboxes) add(outbox);

  return {
    follow: add,
    async run(signal) {
      begun = signal;
      running.push(...writers.map((writer) => writer.run(signal)));
      // Others may join while these work.
      for (let ended = 0; ended < running.length; ended += 1) await running[ended];
    },
    async flush(deadlineMs) {
      const flushed = await Promise.all(writers.map((writer) => writer.flush(deadlineMs)));
      return flushed.every(Boolean);
    },
  };
}

/** All entries, and the age of the oldest. */
export function sumOf(lags: readonly AuditLag[]): AuditLag {
  return {
    entries: lags.reduce((sum, { entries }) => sum + entries, 0),
    ageMs: lags.reduce((oldest, { ageMs }) => Math.max(oldest, ageMs), 0),
  };
}
