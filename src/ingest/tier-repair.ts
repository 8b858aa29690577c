/** Works off what a cache that fell behind still lacks; the place it has reached is kept, so any instance can go on. */
import { reasonOf } from '../core/errors.ts';
import type { Log, TierMarks, TierRepair } from '../core/ports.ts';

export interface TierRepairOptions {
  readonly tierMarks: Pick<TierMarks, 'repair' | 'moveRepair' | 'holdRepair'>;
  /** Names this instance. */
  readonly holder: string;
  /**
   * Replays one topic from these offsets on, by partition. Calls `reached` as it goes, which tells whether it may go on.
   * Resolves when all of it is in the queue; rejects when that did not work out.
   */
  readonly replayTopic: (
    topic: string,
    from: ReadonlyMap<number, string>,
    reached: (partition: number, next: string) => Promise<boolean>,
  ) => Promise<void>;
  readonly onRepaired: () => void;
  readonly log: Log;
}

/** How long one instance has the repair for itself without saying so again, milliseconds. */
const HOLD_MS = 15_000;

/** Makes a function that works on a repair that is kept, if there is one and no other instance does. */
export function createTierRepair(options: TierRepairOptions): () => Promise<void> {
  const { tierMarks, holder, log, replayTopic, onRepaired } = options;
  return async () => {
    let repair = await tierMarks.repair();
    if (repair === null || !(await tierMarks.holdRepair(holder, HOLD_MS))) return;
    /** False when somebody else changed it: the cache fell behind once more. */
    const move = async (to: TierRepair | null): Promise<boolean> => {
      if (repair === null || !(await tierMarks.moveRepair(repair, to))) return false;
      repair = to;
      return tierMarks.holdRepair(holder, HOLD_MS);
    };
    let turn: Promise<unknown> = Promise.resolve();
    /** One after the other: partitions come forward side by side. */
    const inTurn = (to: () => TierRepair | null): Promise<boolean> => {
      const mine = turn.then(() => move(to()));
      turn = mine.catch(() => undefined);
      return mine;
    };
    for (const [topic, from] of byTopic(repair)) {
      log.info({ topic, from: Object.fromEntries(from) }, 'replaying into the cache');
      try {
        await replayTopic(topic, from, (partition, next) =>
          inTurn(() => ({ ...repair, [`${topic}/${partition}`]: next })),
        );
      } catch (error) {
        log.warn(
          { topic, reason: reasonOf(error) },
          'a replay into the cache did not end; it is tried again',
        );
        return;
      }
      const places = new Set([...from.keys()].map((partition) => `${topic}/${partition}`));
      const restOf = (): TierRepair | null => {
        const rest = Object.entries(repair ?? {}).filter(([place]) => !places.has(place));
        return rest.length === 0 ? null : Object.fromEntries(rest);
      };
      if (!(await inTurn(restOf))) return;
    }
    onRepaired();
  };
}

function byTopic(repair: TierRepair): Map<string, Map<number, string>> {
  const topics = new Map<string, Map<number, string>>();
  for (const [place, offset] of Object.entries(repair)) {
    const slash = place.lastIndexOf('/');
    const topic = place.slice(0, slash);
    const partitions = topics.get(topic) ?? new Map<number, string>();
    topics.set(topic, partitions.set(Number(place.slice(slash + 1)), offset));
  }
  return topics;
}
