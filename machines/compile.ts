import type { AnyMachineSnapshot, AnyStateMachine, EventObject } from 'xstate';
import { type AdjacencyMap, getAdjacencyMap } from 'xstate/graph';
import { fail } from '../src/core/errors.ts';

/** A state of a compiled chart. */
export interface ChartState {
  readonly name: string;
  /** The effect it waits for; undefined in final states. */
  readonly effect: string | undefined;
  readonly resumesAt: string;
  readonly final: boolean;
  readonly on: ReadonlyMap<string, string>;
}

/** A statechart as a table: advancing a run is a lookup. */
export interface Chart {
  readonly id: string;
  readonly version: string;
  readonly initial: string;
  readonly states: ReadonlyMap<string, ChartState>;
  readonly events: readonly string[];
  /** The state after an event; undefined when the state does not know it. */
  next(state: string, event: string): string | undefined;
  /** Throws `E_CHART_INVALID` for a name that is no state. */
  state(name: string): ChartState;
}

type Edge = { event: EventObject; state: AnyMachineSnapshot };

/**
 * Compiles a finite, context-free xstate machine into a {@link Chart}. xstate stays the source of truth: the table is
 * read off its own adjacency map (`xstate/graph`), and a test holds every cell equal to `transition()`.
 *
 * @throws E_CHART_INVALID naming what cannot be compiled: context, guards, timers, invoked actors, actions, nested
 *   states, a root-level `on`, an active state without an effect, a final state with a way out
 */
export function compileChart(machine: AnyStateMachine): Chart {
  refuseWhatATableCannotHold(machine);
  const events: string[] = machine.events.filter((type) => !type.startsWith('xstate.'));
  events.sort();
  const adjacency: AdjacencyMap<AnyMachineSnapshot, EventObject> = getAdjacencyMap(machine, {
    events: events.map((type) => ({ type })),
  });
  const reached = new Map(Object.values(adjacency).map((entry) => [String(entry.state.value), entry]));
  const states = new Map<string, ChartState>();
  // In the order of the machine's own text: what is printed reads as it was written.
  for (const name of Object.keys(machine.root.states)) {
    const found = reached.get(name);
    if (found === undefined) throw refusal(machine, `the state ${name} cannot be reached`);
    const final = found.state.status === 'done';
    const on = new Map<string, string>();
    for (const { event, state: target } of Object.values<Edge>(found.transitions)) {
      if (!final && found.state.can(event)) on.set(event.type, String(target.value));
    }
    states.set(name, { name, final, on, ...metaOf(machine, name, final) });
  }
  refuseLooseEnds(machine, states);
  return toChart(machine, states, events);
}

function toChart(
  machine: AnyStateMachine,
  states: ReadonlyMap<string, ChartState>,
  events: readonly string[],
): Chart {
  const state = (name: string): ChartState => {
    const found = states.get(name);
    if (found === undefined) throw refusal(machine, `there is no state ${name}`);
    return found;
  };
  return {
    id: machine.id,
    version: machine.version ?? '0',
    initial: machine.root.initial.target[0]?.key ?? '',
    states,
    events,
    next: (name, event) => states.get(name)?.on.get(event),
    state,
  };
}

function metaOf(
  machine: AnyStateMachine,
  name: string,
  final: boolean,
): { effect: string | undefined; resumesAt: string } {
  const meta: unknown = machine.root.states[name]?.meta;
  const has = (field: string): string | undefined => {
    const value = typeof meta === 'object' && meta !== null ? Reflect.get(meta, field) : undefined;
    return typeof value === 'string' ? value : undefined;
  };
  const effect = has('effect');
  if (final) return { effect: undefined, resumesAt: name };
  if (effect === undefined) throw refusal(machine, `the active state ${name} names no effect in its meta`);
  return { effect, resumesAt: has('resumesAt') ?? name };
}

function refuseWhatATableCannotHold(machine: AnyStateMachine): void {
  const { root } = machine;
  if (machine.config.context !== undefined) throw refusal(machine, 'it has context');
  if (root.config.on !== undefined && Object.keys(root.config.on).length > 0) {
    throw refusal(machine, 'it has a root-level `on`, which would give final states a way out');
  }
  for (const [name, node] of Object.entries(root.states)) {
    if (Object.keys(node.states).length > 0) throw refusal(machine, `the state ${name} has nested states`);
    if (node.invoke.length > 0) throw refusal(machine, `the state ${name} invokes an actor`);
    if (node.after.length > 0) throw refusal(machine, `the state ${name} has timers (\`after\`)`);
    if ((node.always ?? []).length > 0) throw refusal(machine, `the state ${name} has eventless transitions`);
    if (node.entry.length > 0 || node.exit.length > 0)
      throw refusal(machine, `the state ${name} has actions`);
    for (const transitions of node.transitions.values()) {
      for (const transition of transitions) {
        const where = `the transition ${transition.eventType} of ${name}`;
        if (transition.guard !== undefined) throw refusal(machine, `${where} has a guard`);
        if (transition.actions.length > 0) throw refusal(machine, `${where} has actions`);
      }
    }
  }
}

function refuseLooseEnds(machine: AnyStateMachine, states: ReadonlyMap<string, ChartState>): void {
  for (const state of states.values()) {
    if (!state.final && state.on.size === 0)
      throw refusal(machine, `the active state ${state.name} has no way out`);
    if (!states.has(state.resumesAt))
      throw refusal(machine, `${state.name} resumes at ${state.resumesAt}, which is no state`);
  }
}

function refusal(machine: AnyStateMachine, reason: string): Error {
  return fail('E_CHART_INVALID', { machine: machine.id, reason });
}
