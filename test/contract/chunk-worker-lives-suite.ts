/** How workers die, come back and leave. For BullMQ and the simulation. */
import { describe, expect, it } from 'vitest';
import { everything, type FleetWorld, fleetOf } from './chunk-worker-fleet.ts';
import { aChunk, closingOf, dataOf, finish } from './chunk-worker-suite.ts';

export function chunkWorkerLivesSuite(name: string, open: () => Promise<FleetWorld>): void {
  describe(`workers that die or leave: ${name}`, () => {
    const { world, seen, start, until, untilSeen, awaited, hang, reached, closeAs, nothingWritten } =
      fleetOf(open);

    describe('a worker that dies', () => {
      it('leaves its job to another when its lock runs out; back from the dead it closes nothing', async () => {
        const cut = Promise.withResolvers<void>();
        await world().enqueue([aChunk('a')]);
        const first = await start({ name: 'first', lockMs: 2_000 }, async (execution) => {
          cut.resolve();
          return hang(execution);
        });
        await awaited(cut.promise);
        first.cutOff();
        await start({ name: 'second' }, (execution) => finish(execution, { audit: ['"of the second"'] }));
        await untilSeen('a 2');
        await until('its entry', async () => (await world().audit()).length > 0);
        expect(seen().executions.map(({ worker }) => worker)).toEqual(['first', 'second']);
        expect(seen().executions[1]).toMatchObject({ data: aChunk('a').data, lastClosed: 0 });
        await first.comeBack();
        expect(await reached(() => closeAs(0, everything))).toBe('lost');
        await until('its signal', () => seen().executions[0]?.signal.aborted === true);
        expect(await world().audit()).toEqual(['"of the second"']);
        expect(await world().letters()).toEqual([]);
      });

      it('leaves what it closed, that it began, and its last word', async () => {
        await world().enqueue([aChunk('a', ['first', 'second'])]);
        const first = await start({ name: 'first' }, async (execution) => {
          if (execution.execution === 1) {
            await execution.close(closingOf({ rest: dataOf(['second']) }));
            return { kind: 'wait', dueMs: world().clock.now() + 1 };
          }
          await execution.begin();
          execution.progress('parsed');
          execution.progress('fetched');
          return hang(execution);
        });
        await until('its word', async () => (await world().left('a')).progress !== '');
        first.cutOff();
        await world().expireLock('a');
        await start({ name: 'second' }, hang);
        await untilSeen('a 3');
        expect(seen().executions[2]).toMatchObject({
          data: dataOf(['second']),
          worker: 'second',
          lastClosed: 1,
          begun: 1,
          passed: [],
          lastProgress: 'first fetched',
        });
      });

      it('writes nothing into a job that another has taken up', async () => {
        await world().enqueue([aChunk('a')]);
        const first = await start({ name: 'first' }, () => hang({ signal: new AbortController().signal }));
        await untilSeen('a 1');
        first.cutOff();
        await world().expireLock('a');
        await start({ name: 'second' }, hang);
        await untilSeen('a 2');
        await first.comeBack();
        const [zombie] = seen().executions;
        await reached(async () => zombie?.begin());
        await reached(async () => zombie?.pass());
        expect(await reached(() => closeAs(0, everything))).toBe('lost');
        expect(await world().left('a')).toMatchObject({ closed: 0, begun: 0, passed: [] });
        await nothingWritten();
        expect(await reached(() => closeAs(1, { rest: dataOf(['left']) }))).toBe('closed');
      });
    });

    describe('a worker that closes', () => {
      it('lets what it has in hand come to its end, and takes nothing more', async () => {
        const gate = Promise.withResolvers<void>();
        await world().enqueue([aChunk('a'), aChunk('b')]);
        const worker = await start({ name: 'first' }, async (execution) => {
          await gate.promise;
          return finish(execution);
        });
        await untilSeen('a 1');
        const closing = worker.close(60_000);
        gate.resolve();
        await awaited(closing);
        expect(seen().executions[0]?.signal.aborted).toBe(false);
        await start({ name: 'second' }, (execution) => finish(execution));
        await untilSeen('b 1');
        expect(seen().executions.map(({ job, worker }) => `${worker} ${job}`)).toEqual([
          'first a',
          'second b',
        ]);
      });

      it('aborts at the end of its grace what is in hand, and hands it back for another', async () => {
        await world().enqueue([aChunk('a')]);
        const worker = await start({ name: 'first' }, hang);
        await untilSeen('a 1');
        await awaited(worker.close(50));
        expect(seen().executions[0]?.signal.aborted).toBe(true);
        expect(seen().executions[0]?.signal.reason).toMatchObject({ code: 'E_ABORTED' });
        // Long before its lock would have run out.
        await start({ name: 'second' }, hang);
        await untilSeen('a 2');
        expect(seen().executions[1]).toMatchObject({
          worker: 'second',
          data: aChunk('a').data,
          lastClosed: 0,
        });
      });
    });
  });
}
