/** What becomes of a job: with BullMQ, in the simulation, and in the harness that users test their services with. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChunkData, chunkOf } from '../../src/core/chunk.ts';
import { fail } from '../../src/core/errors.ts';
import type {
  Clock,
  Closing,
  Execution,
  ExecutionEnd,
  ExecutionHandler,
  QueuedChunk,
} from '../../src/core/ports.ts';
import { aLetter } from '../support/dead-letter.ts';

/** A queue and its workers, and what moves their time. */
export interface WorkerWorld {
  readonly clock: Clock;
  enqueue(chunks: readonly QueuedChunk[]): Promise<void>;
  /** One execution at a time. */
  startWorker(handler: ExecutionHandler): Promise<void>;
  /** JSON of what closings appended, in order. */
  audit(): Promise<readonly string[]>;
  /** Messages of the letters that closings left, in order. */
  letters(): Promise<readonly string[]>;
  /** Lets time pass until it is so. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
  close(): Promise<void>;
}

export function aChunk(id: string, values: readonly string[] = [id]): QueuedChunk {
  return { id, name: `jobs/0 ${id}`, data: dataOf(values) };
}

export function dataOf(values: readonly string[]): ChunkData {
  const messages = values.map((value, index) => ({
    origin: { stream: 'jobs-0', epoch: 0, position: String(index) },
    timestampMs: 1_700_000_000_000 + index,
    key: null,
    value,
    headers: [],
  }));
  return chunkOf(messages, 'machine@1');
}

const NOTHING: Closing = { rest: null, audit: [], deadLetters: [], settled: [] };

export const closingOf = (more: Partial<Closing> = {}): Closing => ({ ...NOTHING, ...more });

/** Closes with nothing left, and ends the job. */
export async function finish(execution: Execution, more: Partial<Closing> = {}): Promise<ExecutionEnd> {
  await execution.close(closingOf(more));
  return { kind: 'done', summary: { job: execution.job } };
}

/** The executions that a handler was called for, and when, as `job number`. */
export function recorder(now: () => number) {
  const executions: Execution[] = [];
  const startedMs: number[] = [];
  return {
    executions,
    startedMs,
    names: () => executions.map(({ job, execution }) => `${job} ${execution}`),
    of: (job: string) => executions.filter((execution) => execution.job === job),
    around:
      (act: ExecutionHandler): ExecutionHandler =>
      (execution) => {
        executions.push(execution);
        startedMs.push(now());
        return act(execution);
      },
  };
}

const failed = fail('E_FETCH_FAILED', { service: 's', reason: 'down' });
/** BullMQ reads the wall clock, whose milliseconds are whole, the worker its own. */
const CLOCKS_DIFFER_MS = 20;

export function chunkWorkerSuite(name: string, open: () => Promise<WorkerWorld>): void {
  describe(`jobs of a chunk queue: ${name}`, () => {
    let world: WorkerWorld;
    let seen: ReturnType<typeof recorder>;
    beforeEach(async () => {
      world = await open();
      seen = recorder(() => world.clock.now());
    });
    afterEach(() => world.close());

    const start = (act: ExecutionHandler): Promise<void> => world.startWorker(seen.around(act));
    const untilSeen = (execution: string): Promise<void> =>
      world.until(execution, () => seen.names().includes(execution));
    /** What comes after it in line has begun: it has ended. */
    const untilPassed = async (): Promise<void> => {
      await world.enqueue([aChunk('behind')]);
      await untilSeen('behind 1');
    };

    it('runs a job once, as its first execution, which knows its data and that nobody was there before', async () => {
      const chunk = aChunk('a', ['{"id":1}', 'ü']);
      await world.enqueue([chunk]);
      await start((execution) => finish(execution));
      await untilSeen('a 1');
      await untilPassed();
      expect(seen.names()).toEqual(['a 1', 'behind 1']);
      expect(seen.executions[0]).toMatchObject({
        job: 'a',
        name: 'jobs/0 a',
        data: chunk.data,
        execution: 1,
        lastClosed: 0,
        begun: 0,
        passed: [],
        lastProgress: '',
      });
      expect(seen.executions[0]?.worker).not.toBe('');
      expect(seen.executions[0]?.signal.aborted).toBe(false);
    });

    it('hands a large chunk out as it was', async () => {
      const chunk = aChunk('large', [`"${'x'.repeat(40_000)}"`, '"é"']);
      await world.enqueue([chunk]);
      await start((execution) => finish(execution));
      await untilSeen('large 1');
      expect(seen.executions[0]?.data).toEqual(chunk.data);
    });

    it('ignores an id that it knows, whatever its job is doing', async () => {
      const again = (): Promise<void> => world.enqueue([aChunk('a', ['other'])]);
      await world.enqueue([aChunk('a', ['first', 'second'])]);
      await again(); // waiting
      await start(async (execution) => {
        await again(); // running; delayed while `b` runs; finished while `c` runs
        if (execution.job !== 'a' || execution.execution > 1) return finish(execution);
        await execution.close(closingOf({ rest: dataOf(['second']) }));
        return { kind: 'retry', dueMs: world.clock.now() + 300, error: failed };
      });
      await untilSeen('a 1');
      await world.enqueue([aChunk('b')]);
      await untilSeen('b 1');
      await untilSeen('a 2');
      await world.enqueue([aChunk('c')]);
      await untilSeen('c 1');
      await untilPassed();
      expect(seen.names().toSorted()).toEqual(['a 1', 'a 2', 'b 1', 'behind 1', 'c 1']);
      expect(seen.of('a').map(({ data }) => data.values)).toEqual([['first', 'second'], ['second']]);
    });

    it.each(['retry', 'wait'] as const)(
      'runs again after a %s: not before it is due, with the next number and what the closing left',
      async (kind) => {
        const dueMs: number[] = [];
        await world.enqueue([aChunk('a', ['first', 'second'])]);
        await start(async (execution) => {
          if (execution.job !== 'a' || execution.execution === 3) return finish(execution);
          const left = dataOf([`left by ${execution.execution}`]);
          await execution.close(closingOf({ rest: left }));
          const due = world.clock.now() + 150;
          dueMs.push(due);
          return kind === 'retry' ? { kind, dueMs: due, error: failed } : { kind, dueMs: due };
        });
        await untilSeen('a 3');
        await untilPassed();
        expect(seen.names()).toEqual(['a 1', 'a 2', 'a 3', 'behind 1']);
        expect(seen.of('a').map(({ data, lastClosed }) => [data.values, lastClosed])).toEqual([
          [['first', 'second'], 0],
          [['left by 1'], 1],
          [['left by 2'], 2],
        ]);
        for (const [index, due] of dueMs.entries())
          expect(seen.startedMs[index + 1]).toBeGreaterThan(due - CLOCKS_DIFFER_MS);
      },
    );

    it('runs a job again that is handed back, as it was', async () => {
      await world.enqueue([aChunk('a', ['first'])]);
      await start(async (execution) =>
        execution.execution === 1 ? { kind: 'handBack' } : finish(execution),
      );
      await untilSeen('a 2');
      expect(seen.executions[1]).toMatchObject({ data: dataOf(['first']), lastClosed: 0, begun: 0 });
    });

    it('takes the closing of an execution once: the second is told so and leaves nothing', async () => {
      const told: string[] = [];
      await world.enqueue([aChunk('a', ['first'])]);
      await start(async (execution) => {
        if (execution.job !== 'a' || execution.execution > 1) return finish(execution);
        const closing = { audit: ['"once"'], deadLetters: [aLetter(1)] };
        told.push(await execution.close(closingOf({ ...closing, rest: dataOf(['left']) })));
        told.push(await execution.close(closingOf({ ...closing, rest: dataOf(['left twice']) })));
        return { kind: 'wait', dueMs: world.clock.now() + 1 };
      });
      await untilSeen('a 2');
      await untilPassed();
      expect(told).toEqual(['closed', 'repeated']);
      expect(seen.of('a')[1]?.data.values).toEqual(['left']);
      expect(await world.audit()).toEqual(['"once"']);
      expect(await world.letters()).toEqual(['changes-0@1']);
    });

    it('has audit entries and dead letters of all closings in its outboxes, in order and once', async () => {
      await world.enqueue([aChunk('a'), aChunk('b')]);
      await start(async (execution) => {
        if (execution.job === 'behind') return finish(execution);
        const of = `${execution.job} ${execution.execution}`;
        const audit = [JSON.stringify(of), JSON.stringify(`${of} again`)];
        const deadLetters = [aLetter(execution.execution, { message: of })];
        if (execution.execution === 2) return finish(execution, { audit, deadLetters });
        await execution.close(closingOf({ rest: execution.data, audit, deadLetters }));
        return { kind: 'wait', dueMs: world.clock.now() + 1 };
      });
      await world.until('both to end', () => ['a 2', 'b 2'].every((each) => seen.names().includes(each)));
      await untilPassed();
      const ran = seen.names().filter((each) => each !== 'behind 1');
      expect(ran.toSorted()).toEqual(['a 1', 'a 2', 'b 1', 'b 2']);
      expect(await world.audit()).toEqual(
        ran.flatMap((each) => [JSON.stringify(each), JSON.stringify(`${each} again`)]),
      );
      expect(await world.letters()).toEqual(ran);
    });

    it('tells an execution how many began and which passed the job on since the last that closed', async () => {
      await world.enqueue([aChunk('a')]);
      await start(async (execution) => {
        if (execution.execution === 6) return finish(execution);
        if (execution.execution === 4) await execution.close(closingOf({ rest: execution.data }));
        else if (execution.execution === 1) await execution.begin();
        else {
          await execution.begin();
          await execution.pass();
        }
        return { kind: 'handBack' };
      });
      await untilSeen('a 6');
      expect(seen.executions.map(({ lastClosed, begun, passed }) => ({ lastClosed, begun, passed }))).toEqual(
        [
          { lastClosed: 0, begun: 0, passed: [] },
          { lastClosed: 0, begun: 1, passed: [] },
          { lastClosed: 0, begun: 2, passed: [2] },
          { lastClosed: 0, begun: 3, passed: [2, 3] },
          { lastClosed: 4, begun: 0, passed: [] },
          { lastClosed: 4, begun: 1, passed: [5] },
        ],
      );
    });

    it('runs the parts of a job that is split, each once', async () => {
      const parts = [aChunk('a.a', ['first']), aChunk('a.b', ['second'])];
      await world.enqueue([aChunk('a', ['first', 'second'])]);
      await start(async (execution) => {
        if (execution.job === 'a') {
          await execution.split(parts);
          await execution.split(parts);
        }
        return finish(execution);
      });
      await untilSeen('a.b 1');
      await untilPassed();
      expect(seen.names()).toEqual(['a 1', 'a.a 1', 'a.b 1', 'behind 1']);
      expect(seen.executions.slice(1, 3).map(({ data }) => data)).toEqual(parts.map(({ data }) => data));
    });
  });
}
