import type { LatestEpoch, Mark, MarkName, MarkStore } from '../core/ports.ts';

/** Marks in this process only, for tests and trials. `rollBack` and `comeBack` play a store that was restored from a backup. */
export interface MemoryMarks extends MarkStore {
  /** Puts a mark back to an earlier one, as a restored backup would; null: as if there never was one. */
  rollBack(stream: MarkName, mark: Mark | null): void;
  /** Calls the listeners of {@link MarkStore.onReturn}. */
  comeBack(reason: string): void;
}

/** @param hasJob whether the queue beside these marks has a job. @defaultValue never: marks move after their jobs only */
export function createMemoryMarks(hasJob: (id: string) => boolean = () => false): MemoryMarks {
  const marks = new Map<string, Mark>();
  const newest = new Map<string, LatestEpoch>();
  const listeners = new Set<(reason: string) => void>();

  const move = (stream: MarkName, from: Mark | null, to: Mark): boolean => {
    const stored = marks.get(nameOf(stream)) ?? null;
    if (!isSame(stored, to)) {
      if (!isSame(stored, from)) return false;
      marks.set(nameOf(stream), to);
    }
    const latest = newest.get(placeOf(stream));
    if (latest === undefined || to.epoch > latest.epoch) {
      newest.set(placeOf(stream), { clusterId: stream.clusterId, epoch: to.epoch });
    }
    return true;
  };

  return {
    settle: () => Promise.resolve(),
    read: (stream) => Promise.resolve(marks.get(nameOf(stream)) ?? null),
    latest: (stream) => Promise.resolve(newest.get(placeOf(stream)) ?? null),
    move: (stream, from, to) => Promise.resolve(move(stream, from, to)),
    moveBehind(stream, from, to, jobs) {
      if (!jobs.every(hasJob)) return Promise.resolve('early');
      return Promise.resolve(move(stream, from, to) ? 'moved' : 'elsewhere');
    },
    onReturn(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    rollBack(stream, mark) {
      if (mark === null) {
        marks.delete(nameOf(stream));
        newest.delete(placeOf(stream));
      } else {
        marks.set(nameOf(stream), mark);
      }
    },
    comeBack(reason) {
      for (const listener of listeners) listener(reason);
    },
  };
}

function placeOf({ groupId, topic, partition }: MarkName): string {
  return JSON.stringify([groupId, topic, partition]);
}

function nameOf(stream: MarkName): string {
  return `${stream.clusterId} ${placeOf(stream)}`;
}

function isSame(a: Mark | null, b: Mark | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.epoch === b.epoch && a.enqueued === b.enqueued && a.committed === b.committed && a.logId === b.logId
  );
}
