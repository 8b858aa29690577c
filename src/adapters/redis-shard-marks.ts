/**
 * Marks of a queue of several shards. A mark stands in the slot of the shard its partition's jobs go to, so that a server that
 * loses jobs loses the mark over them, too (docs/adr/0012). Where the number of shards was changed it leaves its old shard,
 * once none of the partition's jobs is open there, and is taken in by the new one. Of those that are found the one with the
 * highest epoch, and of these the one that moved oftenest, is the mark.
 */
import { fail } from '../core/errors.ts';
import type { LatestEpoch, Log, MarkName, MarkStore, ShardRegister } from '../core/ports.ts';
import { shardOfPlace } from '../core/shards.ts';
import type { PlacedMark, RedisMarks } from './redis-mark.ts';
import type { RedisReturns } from './redis-returns.ts';

export interface ShardMarksOptions {
  readonly shards: ShardRegister;
  /** Watches the servers of all configured shards; stopped by `close`. */
  readonly returns: RedisReturns;
  /** Opens the marks of one shard. */
  readonly open: (shard: number) => RedisMarks;
  /** How the ids of a stream's jobs begin. */
  readonly idsBegin: (stream: MarkName) => string;
  readonly log: Log;
}

interface Found extends PlacedMark {
  readonly shard: number;
}

export function createShardMarks(options: ShardMarksOptions): MarkStore & { close(): void } {
  const { shards, returns, open, idsBegin, log } = options;
  const opened: RedisMarks[] = [];
  const at = (shard: number): RedisMarks => (opened[shard] ??= open(shard));
  const here = (stream: MarkName): number => shardOfPlace(stream, shards.configured);
  const numbers = (): number[] => Array.from({ length: shards.count() }, (_, shard) => shard);

  const find = async (stream: MarkName): Promise<Found | null> => {
    const found = await Promise.all(
      numbers().map(async (shard) => {
        const placed = await at(shard).look(stream);
        return placed === null ? null : { ...placed, shard };
      }),
    );
    return found.reduce(
      (best, each) => (best === null || (each !== null && isLater(each, best)) ? each : best),
      null,
    );
  };

  return {
    async settle(stream) {
      const to = here(stream);
      await shards.look();
      for (;;) {
        const found = await find(stream);
        if (found === null || (found.shard === to && found.leftFor === undefined)) return;
        const { shard: from, leftFor } = found;
        // Another process may have died between the two steps: whoever comes next takes the second.
        if (leftFor !== undefined) await at(leftFor).take(stream, found);
        else if (await at(from).hasUnfinished(idsBegin(stream)))
          throw fail('E_SHARD_DRAINING', { stream: `${stream.topic}-${stream.partition}`, from, to });
        else {
          log.info(
            { topic: stream.topic, partition: stream.partition, from, to },
            'partition goes to another shard',
          );
          await at(from).leave(stream, found, to);
        }
      }
    },
    async read(stream) {
      await shards.ready();
      return (await find(stream))?.mark ?? null;
    },
    async latest(stream) {
      const all = await Promise.all(numbers().map((shard) => at(shard).latest(stream)));
      return all.reduce<LatestEpoch | null>(
        (best, each) => (best === null || (each !== null && each.epoch > best.epoch) ? each : best),
        null,
      );
    },
    move: (stream, from, to) => at(here(stream)).move(stream, from, to),
    moveBehind: (stream, from, to, jobs) => at(here(stream)).moveBehind(stream, from, to, jobs),
    onReturn: (listener) => returns.onReturn(listener),
    close: () => returns.stop(),
  };
}

function isLater(a: Found, b: Found): boolean {
  return a.mark.epoch > b.mark.epoch || (a.mark.epoch === b.mark.epoch && a.moves > b.moves);
}
