import { describe, expect, it } from 'vitest';
import { paced } from '../../src/cli/paced.ts';
import type { Message } from '../../src/core/change.ts';
import { createVirtualClock } from '../../src/testing/virtual-clock.ts';

const messages = (count: number): Message[] =>
  Array.from({ length: count }, (_, index) => ({
    origin: { stream: 'warm:x', epoch: 0, position: String(index) },
    timestampMs: 0,
    key: null,
    value: '{}',
    headers: [],
  }));

/** Ten a second, from time 0, and when what passed. */
function aPace() {
  const clock = createVirtualClock(0);
  const passed: [atMs: number, count: number][] = [];
  const interrupt = new AbortController();
  const submit = paced(
    async (given) => {
      passed.push([clock.now(), given.length]);
      return [];
    },
    10,
    clock,
    interrupt.signal,
  );
  const send = (count: number): Promise<unknown> => submit(messages(count), { idPrefix: 'x' });
  /** Wakes whoever sleeps, in order, until nobody does. */
  const goOn = async (): Promise<void> => {
    await new Promise(setImmediate);
    for (let next = clock.nextMs(); next !== undefined; next = clock.nextMs()) {
      clock.advanceTo(next);
      await new Promise(setImmediate);
    }
  };
  return { clock, passed, interrupt, send, goOn };
}

describe('a pace', () => {
  it('lets so many messages a second pass, whatever the size of the batches', async () => {
    const { passed, send, goOn } = aPace();
    const sending = (async () => {
      for (const count of [5, 10, 1, 1, 3]) await send(count);
    })();
    await goOn();
    await sending;
    expect(passed).toEqual([
      [0, 5],
      [500, 10],
      [1_500, 1],
      [1_600, 1],
      [1_700, 3],
    ]);
  });

  it('does not catch up after a pause', async () => {
    const { clock, passed, send, goOn } = aPace();
    await send(10);
    clock.advanceTo(60_000);
    const sending = (async () => {
      await send(10);
      await send(10);
    })();
    await goOn();
    await sending;
    expect(passed).toEqual([
      [0, 10],
      [60_000, 10],
      [61_000, 10],
    ]);
  });

  it('lets what waits pass at an interrupt', async () => {
    const { passed, interrupt, send } = aPace();
    await send(10);
    const waiting = send(10);
    interrupt.abort();
    await waiting;
    expect(passed).toEqual([
      [0, 10],
      [0, 10],
    ]);
  });
});
