/** Whose job it is: the line, and locks that are lost. For BullMQ and the simulation. */
import { describe, expect, it } from 'vitest';
import { aLetter } from '../support/dead-letter.ts';
import { everything, type FleetWorld, fleetOf, KEPT } from './chunk-worker-fleet.ts';
import { aChunk, closingOf, dataOf, finish } from './chunk-worker-suite.ts';

export function chunkWorkerLocksSuite(name: string, open: () => Promise<FleetWorld>): void {
  describe(`who works on a job: ${name}`, () => {
    const { world, seen, start, until, untilSeen, awaited, hang, nothingWritten } = fleetOf(open);

    describe('the line', () => {
      it('is worked off in the order of arrival; what is handed back comes first again', async () => {
        await world().enqueue(['a', 'b', 'c'].map((id) => aChunk(id)));
        await start({}, async (execution) =>
          execution.job === 'b' && execution.execution === 1 ? { kind: 'handBack' } : finish(execution),
        );
        await untilSeen('c 1');
        expect(seen().names()).toEqual(['a 1', 'b 1', 'b 2', 'c 1']);
      });

      it('is worked off by as many executions at a time as the worker may have', async () => {
        const gates = new Map(['a', 'b', 'c'].map((id) => [id, Promise.withResolvers<void>()]));
        await world().enqueue(['a', 'b', 'c'].map((id) => aChunk(id)));
        await start({ concurrency: 2 }, async (execution) => {
          await gates.get(execution.job)?.promise;
          return finish(execution, { audit: [JSON.stringify(execution.job)] });
        });
        await untilSeen('a 1', 'b 1');
        expect(seen().names()).not.toContain('c 1');
        gates.get('b')?.resolve();
        await untilSeen('c 1');
        expect(await world().audit()).toEqual(['"b"']);
        for (const gate of gates.values()) gate.resolve();
      });

      it('takes an id again when its job was finished long ago and is forgotten', async () => {
        await start({}, (execution) => finish(execution));
        await world().enqueue([aChunk('a')]);
        await untilSeen('a 1');
        const others = Array.from({ length: KEPT + 1 }, (_, index) => `other-${index}`);
        await world().enqueue(others.map((id) => aChunk(id)));
        await untilSeen(`${others.at(-1)} 1`);
        await world().enqueue([aChunk('a')]);
        await until('it to run again', () => seen().of('a').length === 2);
        expect(
          seen()
            .of('a')
            .map(({ execution }) => execution),
        ).toEqual([1, 1]);
      });
    });

    it('runs a job again after a second whose handler threw, with the next number and as it was', async () => {
      await world().enqueue([aChunk('a')]);
      await start({}, (execution) =>
        execution.execution === 1 ? Promise.reject(new TypeError('a bug')) : finish(execution),
      );
      await untilSeen('a 2');
      expect(seen().executions[1]).toMatchObject({ data: aChunk('a').data, lastClosed: 0 });
      expect((seen().startedMs[1] ?? 0) - (seen().startedMs[0] ?? 0)).toBeGreaterThan(900);
    });

    it('runs a job again, empty, that was closed with nothing left but did not end', async () => {
      await world().enqueue([aChunk('a')]);
      await start({}, async (execution) => {
        const end = await finish(execution);
        return execution.execution === 1 ? { kind: 'handBack' } : end;
      });
      await untilSeen('a 2');
      expect(seen().executions[1]).toMatchObject({ data: { positions: [] }, lastClosed: 1 });
    });

    it('tells which letters a closing took away, behind the letters it left', async () => {
      await world().enqueue([aChunk('a')]);
      await start({}, (execution) =>
        finish(execution, { deadLetters: [aLetter(1)], settled: ['changes-0@1.0.0', 'changes-0@2.0.0'] }),
      );
      await until('the settlement', async () => (await world().settled()).length > 0);
      expect(await world().settled()).toEqual(['changes-0@1.0.0', 'changes-0@2.0.0']);
      expect(await world().letters()).toEqual(['changes-0@1']);
    });

    describe('a lock that is lost', () => {
      it('refuses the closing, which writes nothing', async () => {
        const told: string[] = [];
        await world().enqueue([aChunk('a')]);
        await start({}, async (execution) => {
          if (execution.execution > 1) return hang(execution);
          await world().expireLock('a');
          told.push(await execution.close(closingOf(everything)));
          return { kind: 'handBack' };
        });
        await until('it to be taken up again', () => seen().names().length === 2);
        expect(told).toEqual(['lost']);
        expect(seen().executions[1]).toMatchObject({ data: aChunk('a').data, lastClosed: 0 });
        await nothingWritten();
      });

      it('refuses the end of an execution that closed before: the job goes on with what it left', async () => {
        await world().enqueue([aChunk('a')]);
        await start({}, async (execution) => {
          if (execution.execution > 1) return hang(execution);
          await execution.close(closingOf({ rest: dataOf(['left']) }));
          await world().expireLock('a');
          return { kind: 'done', summary: null };
        });
        await until('it to be taken up again', () => seen().names().length === 2);
        expect(seen().executions[1]).toMatchObject({ data: dataOf(['left']), lastClosed: 1 });
      });

      it('fires the signal of its execution', async () => {
        await world().enqueue([aChunk('a')]);
        await start({ lockMs: 1_000, stalledIntervalMs: 60_000 }, hang);
        await untilSeen('a 1');
        await world().expireLock('a');
        await until('the signal', () => seen().executions[0]?.signal.aborted === true);
        expect(seen().executions[0]?.signal.reason).toMatchObject({ code: 'E_ABORTED' });
      });

      it('fires the signal while its worker closes, too: locks are kept until then', async () => {
        await world().enqueue([aChunk('a')]);
        const worker = await start({ lockMs: 1_000, stalledIntervalMs: 60_000 }, hang);
        await untilSeen('a 1');
        const closing = worker.close(60_000);
        await world().expireLock('a');
        await until('the signal', () => seen().executions[0]?.signal.aborted === true);
        await awaited(closing);
      });

      it('of a worker that takes its own job again: the earlier execution ends before the next begins', async () => {
        const log: string[] = [];
        await world().enqueue([aChunk('a')]);
        await start({ concurrency: 3 }, async (execution) => {
          const one = execution.execution === 1;
          log.push(one ? 'first begins' : 'next begins');
          const end = await hang(execution);
          if (one) log.push('first ends');
          return end;
        });
        await untilSeen('a 1');
        await world().expireLock('a');
        await until('the next', () => seen().names().length === 2);
        expect(log).toEqual(['first begins', 'first ends', 'next begins']);
        // One more was the pick-up that found the first still running.
        expect(seen().executions[1]).toMatchObject({ execution: 3, lastClosed: 0 });
      });

      it('leaves what arrives after the next execution began without effect, also of one worker', async () => {
        const told: string[] = [];
        await world().enqueue([aChunk('a')]);
        await start({}, async (execution) => {
          if (execution.execution === 1) return { kind: 'handBack' };
          if (execution.execution === 3) return hang(execution);
          const [first] = seen().executions;
          if (first !== undefined) told.push(await first.close(closingOf(everything)));
          await first?.begin();
          await first?.pass();
          expect(await world().left('a')).toMatchObject({ begun: 0, passed: [] });
          told.push(await execution.close(closingOf({ rest: dataOf(['left by 2']) })));
          if (first !== undefined) told.push(await first.close(closingOf(everything)));
          return { kind: 'handBack' };
        });
        await untilSeen('a 3');
        expect(told).toEqual(['lost', 'closed', 'lost']);
        expect(seen().executions[2]).toMatchObject({ data: dataOf(['left by 2']), lastClosed: 2 });
        await nothingWritten();
      });
    });
  });
}
