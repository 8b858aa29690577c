import { reasonOf } from '../core/errors.ts';
import type { Parts } from './parts.ts';

/** How soon a shard that another process wrote down, or something left in one, is seen. */
const EVERY_MS = 5_000;

/** Keeps the number of shards that this process knows of up to date. */
export interface ShardWatch {
  /** Looks once, and from then on every few seconds. */
  start(): Promise<void>;
  close(): void;
}

/** @param onLook after each look */
export function createShardWatch(
  { shards, clock, log }: Pick<Parts, 'shards' | 'clock' | 'log'>,
  onLook: () => Promise<void>,
): ShardWatch {
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(EVERY_MS, stop.signal);
      try {
        await shards.register.look();
        await onLook();
      } catch (error) {
        // A lost connection is told by the connections themselves.
        log.debug({ reason: reasonOf(error) }, 'the shards of the queue were not looked at');
      }
    }
  };
  return {
    async start() {
      await shards.register.look();
      void run().catch(() => undefined);
    },
    close: () => stop.abort(),
  };
}
