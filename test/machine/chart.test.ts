import { createActor, createMachine, transition } from 'xstate';
import { afterAll, describe, expect, it } from 'vitest';
import { adoptState, changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { chartPaths, productionChart, runPath } from '../../src/testing/paths.ts';

const chart = productionChart();
const events = [...chart.events, 'neverHeardOf'];
const states = [...chart.states.values()];
const covered: string[] = [];

describe('the compiled table equals xstate', () => {
  for (const state of states) {
    for (const event of events) {
      it(`${state.name} × ${event}`, () => {
        const snapshot = changeMessage.resolveState({ value: state.name });
        const knows = snapshot.status === 'active' && snapshot.can({ type: event });
        const [next] = transition(changeMessage, snapshot, { type: event });
        expect(chart.next(state.name, event)).toBe(knows ? next.value : undefined);
        expect(state.final).toBe(snapshot.status === 'done');
        covered.push(`${state.name} × ${event} → ${chart.next(state.name, event) ?? '·'}`);
      });
    }
  }

  it('gives no final state a way out', () => {
    for (const state of states.filter(({ final }) => final)) expect([...state.on]).toEqual([]);
  });

  it('lets every active state end rejected or given up', () => {
    for (const state of states.filter(({ final }) => !final)) {
      expect(state.on.get('rejected')).toBe('rejected');
      expect(state.on.get('exhausted')).toBe('gaveUp');
    }
  });

  afterAll(() => {
    console.log(`\nstate × event (${covered.length} pairs)\n${table()}`);
  });
});

describe('every path of the chart, through the real executor', () => {
  const paths = chartPaths();

  it('reaches every final state', () => {
    expect(new Set(paths.map(({ end }) => end))).toEqual(
      new Set(states.filter(({ final }) => final).map(({ name }) => name)),
    );
  });

  for (const path of paths) {
    it(path.steps.map(({ event }) => event).join(' → '), async () => {
      const walked = await runPath(path);
      expect(walked.end).toBe(path.end);
      expect(walked.steps.map(({ from, event, to }) => ({ from, event, to }))).toEqual(path.steps);
      expect(walked.effects).toEqual(path.steps.map(({ from }) => chart.state(from).effect));
    });
  }
});

describe('a snapshot of a production run', () => {
  for (const state of states) {
    it(`resumes as ${state.name} in an xstate actor`, () => {
      const adopted = state.final ? state.name : adoptState(chart, machineName(chart), state.name);
      const snapshot = changeMessage.resolveState({ value: adopted });
      const actor = createActor(changeMessage, { snapshot }).start();
      expect(actor.getSnapshot().value).toBe(state.name);
      actor.stop();
    });
  }

  it('of an older machine version goes through its migration', () => {
    const known = new Map([
      ['change-message@0', (state: string) => (state === 'loaded' ? 'fetched' : undefined)],
    ]);
    expect(adoptState(chart, 'change-message@0', 'loaded', known)).toBe('fetched');
  });

  it('of an older version without a migration starts anew', () => {
    expect(adoptState(chart, 'change-message@0', 'loaded', new Map())).toBe('received');
  });

  it('in a state that this version does not have starts anew', () => {
    expect(adoptState(chart, machineName(chart), 'vanished')).toBe('received');
  });

  it('of a newer version is refused, never misread', () => {
    expect(() => adoptState(chart, 'change-message@2', 'fetched')).toThrow(/format change-message@2/);
  });

  it('of another machine is refused, never misread', () => {
    expect(() => adoptState(chart, 'other@1', 'fetched')).toThrow(/other@1/);
  });
});

describe('a chart that a table cannot hold is refused, saying which and why', () => {
  const refusals = {
    'it has context': createMachine({
      id: 'bad',
      context: { count: 0 },
      initial: 'a',
      states: { a: { type: 'final' } },
    }),
    'root-level `on`': createMachine({
      id: 'bad',
      initial: 'a',
      on: { go: '.a' },
      states: { a: { type: 'final' } },
    }),
    'has nested states': createMachine({
      id: 'bad',
      initial: 'a',
      states: { a: { initial: 'b', meta: { effect: 'x' }, states: { b: {} } } },
    }),
    'invokes an actor': createMachine({
      id: 'bad',
      initial: 'a',
      states: {
        a: { meta: { effect: 'x' }, invoke: { src: 'work' }, on: { go: 'b' } },
        b: { type: 'final' },
      },
    }),
    'has timers': createMachine({
      id: 'bad',
      initial: 'a',
      states: { a: { meta: { effect: 'x' }, after: { 100: 'b' }, on: { go: 'b' } }, b: { type: 'final' } },
    }),
    'has a guard': createMachine({
      id: 'bad',
      initial: 'a',
      states: {
        a: { meta: { effect: 'x' }, on: { go: { target: 'b', guard: () => true } } },
        b: { type: 'final' },
      },
    }),
    'has actions': createMachine({
      id: 'bad',
      initial: 'a',
      states: {
        a: { meta: { effect: 'x' }, on: { go: { target: 'b', actions: () => undefined } } },
        b: { type: 'final' },
      },
    }),
    'names no effect': createMachine({
      id: 'bad',
      initial: 'a',
      states: { a: { on: { go: 'b' } }, b: { type: 'final' } },
    }),
    'cannot be reached': createMachine({
      id: 'bad',
      initial: 'a',
      states: { a: { meta: { effect: 'x' }, on: { go: 'b' } }, b: { type: 'final' }, c: { type: 'final' } },
    }),
    'has no way out': createMachine({ id: 'bad', initial: 'a', states: { a: { meta: { effect: 'x' } } } }),
    'eventless transitions': createMachine({
      id: 'bad',
      initial: 'a',
      states: { a: { meta: { effect: 'x' }, always: 'b', on: { go: 'b' } }, b: { type: 'final' } },
    }),
  };
  for (const [why, machine] of Object.entries(refusals)) {
    it(why, () => {
      expect(() => compileChart(machine)).toThrow(`The statechart bad cannot be compiled: `);
      expect(() => compileChart(machine)).toThrow(why);
    });
  }
});

function table(): string {
  const width = Math.max(...states.map(({ name }) => name.length)) + 2;
  return states
    .map(({ name, on, final }) => {
      const cells = events.map((event) => `${event}→${on.get(event) ?? '·'}`);
      return `${name.padEnd(width)}${final ? 'final: no event is known' : cells.join('  ')}`;
    })
    .join('\n');
}
