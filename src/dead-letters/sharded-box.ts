import type { DeadLetterBox, ShardRegister, StoredLetter } from '../core/ports.ts';

/**
 * The boxes of all shards as one. A letter lies in the shard its message died in, whose marks and jobs are lost with it and come
 * back with it; its redrive may run in another.
 */
export function createShardedBox(options: {
  readonly shards: Pick<ShardRegister, 'look'>;
  readonly at: (shard: number) => DeadLetterBox;
}): DeadLetterBox {
  const first = options.at(0);
  const opened = [first];
  /** Asks again each time: commands and requests are seldom. */
  const boxes = async (): Promise<readonly DeadLetterBox[]> => {
    const count = await options.shards.look();
    for (let shard = opened.length; shard < count; shard += 1) opened.push(options.at(shard));
    return opened;
  };
  const all = async <Result>(ask: (box: DeadLetterBox) => Promise<Result>): Promise<Result[]> =>
    Promise.all((await boxes()).map(ask));

  return {
    // A message that ran in two shards while their number was changed may lie in both, under one id.
    ids: async () => [...new Set((await all((box) => box.ids())).flat())],
    async read(ids) {
      const found = await all((box) => box.read(ids));
      return ids.map((_, index) =>
        found.reduce<StoredLetter | undefined>((letter, each) => letter ?? each[index], undefined),
      );
    },
    mark: async (ids, redriving) => void (await all((box) => box.mark(ids, redriving))),
    remove: async (ids) => (await all((box) => box.remove(ids))).reduce((sum, count) => sum + count, 0),
    async openJobs(jobs) {
      const open = await all((box) => box.openJobs(jobs));
      return new Set(open.flatMap((each) => [...each]));
    },
    record: (entries) => first.record(entries),
    close: async () => void (await Promise.all(opened.map((box) => box.close()))),
  };
}
