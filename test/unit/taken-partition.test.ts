import { expect, it } from 'vitest';
import { createMemoryMarks } from '../../src/adapters/memory-marks.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { LogBounds } from '../../src/core/ports.ts';
import { TakenPartition } from '../../src/ingest/taken-partition.ts';
import { silentLog } from '../../src/testing/paths.ts';

it('compares anew when the address led to another cluster while it compared: the offset is no place in the other log', async () => {
  const marks = createMemoryMarks();
  const source = { clusterId: 'old', groupId: 'g' };
  await marks.move({ ...source, topic: 't', partition: 0 }, null, {
    epoch: 0,
    enqueued: '2',
    committed: '3',
    logId: 'old-log',
  });
  const partition = new TakenPartition('t', 0, {
    source,
    marks,
    onMissingMark: 'earliest',
    clock: systemClock(),
    log: silentLog,
  });
  // The old cluster's commit, then a pause in which the other takes its place; that one knows no commit.
  const commits = ['3', null];
  const bounds = (): Promise<LogBounds> => {
    source.clusterId = 'other';
    return Promise.resolve({ low: '0', high: '6', logId: 'other-log' });
  };
  const decision = await partition.take(
    {
      generation: 1,
      committed: () => Promise.resolve(commits.shift() ?? null),
      bounds,
      seek: () => undefined,
      pause: () => () => undefined,
    },
    () => Promise.resolve(),
  );
  expect(decision).toMatchObject({ kind: 'otherCluster', from: '0', mark: { epoch: 1 } });
  expect(await marks.latest({ ...source, topic: 't', partition: 0 })).toEqual({
    clusterId: 'other',
    epoch: 1,
  });
  expect(commits).toEqual([]);
});
