import { describe, expect, it } from 'vitest';
import type { Clock, SourcePosition } from '../../src/core/ports.ts';
import { createStallWatch } from '../../src/ingest/stall-watch.ts';
import { silentLog } from '../../src/testing/paths.ts';

describe('the watch over partitions that should move', () => {
  const aWatch = () => {
    const world = {
      nowMs: 0,
      restarts: [] as string[],
      position: { topic: 't', partition: 0, resolved: '5', isPaused: false } as SourcePosition,
      more: [] as SourcePosition[],
      high: '9',
      committed: null as string | null,
    };
    const clock: Clock = { now: () => world.nowMs, sleep: () => Promise.resolve(), random: () => 0.5 };
    const partition = () => ({
      generation: 1,
      committed: () => Promise.resolve(world.committed),
      bounds: () => Promise.resolve({ low: '0', high: world.high, logId: '' }),
      seek: () => undefined,
      pause: () => () => undefined,
    });
    const source = {
      positions: () => [world.position, ...world.more],
      partition,
      restart: (reason: string) => Promise.resolve(void world.restarts.push(reason)),
    };
    const watch = createStallWatch({ source, patienceMs: 60_000, clock, log: silentLog });
    const after = async (ms: number): Promise<string> => {
      world.nowMs += ms;
      return watch.look();
    };
    return { world, after };
  };

  it('restarts the consumer when a partition with unread messages stands still for a minute, and says why', async () => {
    const { world, after } = aWatch();
    await after(0);
    expect(await after(59_999)).toBe('');
    expect(await after(1)).toBe('t/0 has unread messages and has not moved for 60 s');
    expect(world.restarts).toHaveLength(1);
  });

  it('waits twice as long after each restart that did not help', async () => {
    const { world, after } = aWatch();
    await after(0);
    await after(60_000);
    await after(60_000);
    expect(world.restarts).toHaveLength(1);
    await after(60_000);
    expect(world.restarts).toHaveLength(2);
  });

  it('gives all partitions time with the consumer that was built anew, not only the one that was the reason', async () => {
    const { world, after } = aWatch();
    world.more = [{ ...world.position, partition: 1 }];
    await after(0);
    expect(await after(60_000)).toContain('t/0');
    expect(await after(10_000)).toBe('');
    expect(await after(50_000)).toContain('t/1');
    expect(world.restarts).toHaveLength(2);
  });

  it.each([
    [
      'moves',
      (world: ReturnType<typeof aWatch>['world']) =>
        Object.assign(world, { position: { ...world.position, resolved: '6' } }),
    ],
    [
      'has nothing unread',
      (world: ReturnType<typeof aWatch>['world']) => Object.assign(world, { high: '5' }),
    ],
    [
      'is paused',
      (world: ReturnType<typeof aWatch>['world']) =>
        Object.assign(world, { position: { ...world.position, isPaused: true } }),
    ],
  ])('leaves a partition alone that %s', async (_, change) => {
    const { world, after } = aWatch();
    await after(0);
    await after(50_000);
    change(world);
    await after(10_000);
    expect(await after(59_000)).toBe('');
    expect(world.restarts).toEqual([]);
  });

  it('measures a partition that never moved by its commit, or the beginning of its log', async () => {
    const { world, after } = aWatch();
    Object.assign(world, { position: { ...world.position, resolved: '' }, committed: '9' });
    await after(0);
    expect(await after(60_000)).toBe('');
    world.committed = null;
    expect(await after(60_000)).not.toBe('');
  });
});
