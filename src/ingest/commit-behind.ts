import { reasonOf } from '../core/errors.ts';
import type { Clock, Log, SourceBatch } from '../core/ports.ts';

/** The least time between two commits of a partition, milliseconds. */
const COMMIT_EVERY_MS = 100;

/**
 * Commits behind the messages' back. They are in the queue and the mark says so; a commit that is late, or fails, costs a
 * comparison at the next start and nothing else, while waiting for it would cost every message behind it. The first
 * commit after a rest goes out at once, those that follow closely are gathered into one.
 *
 * Of a partition one at a time, and within a generation only forwards: a commit that is tried again, over another connection
 * perhaps, or whose batch was answered later than the next, would take back what another has committed, and that looks like
 * an operator's rewind.
 */
export interface CommitBehind {
  /** @param acknowledged told the next offset to read once Kafka has acknowledged the commit */
  later(batch: SourceBatch, offset: string, acknowledged: (next: string) => void): void;
  /** Sends what is pending; resolves when all has been answered. */
  flush(): Promise<void>;
}

interface Pending {
  readonly batch: SourceBatch;
  readonly offset: string;
  readonly acknowledged: (next: string) => void;
}

export function createCommitBehind({
  clock,
  log,
}: {
  readonly clock: Clock;
  readonly log: Log;
}): CommitBehind {
  const pending = new Map<string, Pending>();
  /** The highest offset of each partition, and the generation it was read in. */
  const newest = new Map<string, { readonly generation: number; readonly offset: string }>();
  const resting = new Set<string>();
  const sending = new Map<string, Promise<void>>();

  const send = (place: string): void => {
    const one = pending.get(place);
    if (one === undefined || sending.has(place)) return;
    pending.delete(place);
    const { batch, offset, acknowledged } = one;
    const sent = batch
      .commit(offset)
      .then(
        () => acknowledged(String(BigInt(offset) + 1n)),
        (error: unknown) => log.debug({ place, reason: reasonOf(error) }, 'not committed'),
      )
      .finally(() => sending.delete(place));
    sending.set(place, sent);
    resting.add(place);
    void Promise.all([sent, clock.sleep(COMMIT_EVERY_MS)]).then(() => {
      resting.delete(place);
      send(place);
    });
  };

  return {
    later(batch, offset, acknowledged) {
      const place = `${batch.topic}/${batch.partition}`;
      const last = newest.get(place);
      if (last?.generation === batch.generation && BigInt(offset) <= BigInt(last.offset)) return;
      newest.set(place, { generation: batch.generation, offset });
      pending.set(place, { batch, offset, acknowledged });
      if (!resting.has(place)) send(place);
    },
    async flush() {
      await Promise.all(sending.values());
      for (const place of pending.keys()) send(place);
      await Promise.all(sending.values());
    },
  };
}
