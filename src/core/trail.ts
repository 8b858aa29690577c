/**
 * The trail: what a run went through. Runs of one group share their steps, so a trail is a node in a small tree:
 * taking the same step with the same event leads to the same node, and a thousand runs cost a handful of nodes.
 */

/** One call of an effect for a group of runs. */
export interface Step {
  /** The state the runs were in. */
  readonly state: string;
  readonly effect: string;
  /** When the group's effect began, epoch milliseconds (fractions kept). */
  readonly atMs: number;
  /** How long the group took, milliseconds. */
  durationMs: number;
  /** How many runs the group had; times are the group's, not the single run's. */
  readonly size: number;
}

export class Trail {
  static root(): Trail {
    return new Trail(undefined, undefined, '', '');
  }

  readonly parent: Trail | undefined;
  readonly step: Step | undefined;
  readonly event: string;
  /** The state the event led to. */
  readonly state: string;
  /** Place in the closing's list of trails; set while closing. */
  index = -1;
  /** Few: a group's runs take few different ways. The last one taken is looked at first. */
  readonly #next: Trail[] = [];

  private constructor(parent: Trail | undefined, step: Step | undefined, event: string, state: string) {
    this.parent = parent;
    this.step = step;
    this.event = event;
    this.state = state;
  }

  /** The trail after `event` of `step` led to `state`. */
  after(step: Step, event: string, state: string): Trail {
    for (let at = this.#next.length - 1; at >= 0; at -= 1) {
      const known = this.#next[at];
      if (known?.step === step && known.event === event) return known;
      if (known?.step !== step) break;
    }
    const next = new Trail(this, step, event, state);
    this.#next.push(next);
    return next;
  }

  /** Oldest step first. */
  entries(): TrailStep[] {
    return newestFirst(this).reverse();
  }
}

function newestFirst(trail: Trail): TrailStep[] {
  const steps: TrailStep[] = [];
  for (let at: Trail | undefined = trail; at?.step !== undefined; at = at.parent) {
    const { state, effect, atMs, durationMs, size } = at.step;
    steps.push({ from: state, effect, event: at.event, to: at.state, atMs, durationMs, size });
  }
  return steps;
}

/** A step as it is recorded. */
export interface TrailStep {
  readonly from: string;
  readonly effect: string;
  readonly event: string;
  readonly to: string;
  /** Epoch milliseconds. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Runs in the group that took this step together. */
  readonly size: number;
}

/** Bumped when the layout of {@link AuditEntry} changes. */
export const AUDIT_FORMAT = 1;

/**
 * What one execution appends to the audit outbox: a header, the trails its runs took, and one row per run.
 * JSON; strings that repeat (services, trails, errors) stand once and rows refer to them by index.
 */
export interface AuditEntry {
  readonly format: number;
  /** Job id and queue of the execution. */
  readonly job: string;
  readonly execution: number;
  readonly worker: string;
  readonly stream: string;
  readonly epoch: number;
  readonly redrive: number;
  /** When the execution began and ended, epoch milliseconds. */
  readonly startedMs: number;
  readonly endedMs: number;
  readonly services: readonly string[];
  readonly trails: readonly (readonly TrailStep[])[];
  readonly errors: readonly { readonly code: string; readonly message: string }[];
  readonly rows: readonly AuditRow[];
}

/**
 * One run in one execution:
 * 0 position (with `#part`), 1 state it ended this execution in, 2 trail index, 3 service index or -1, 4 record id,
 * 5 key, 6 version (`kind:digits`) or ''. The rest is left out where all of it says nothing, as for most runs:
 * 7 failed attempts so far, 8 error index or -1, 9 message id that superseded it or '', 10 due (epoch ms) if it waits,
 * else 0, 11 note ('' or what a reader of the trail should know).
 */
export type AuditRow = readonly [
  position: string,
  state: string,
  trail: number,
  service: number,
  recordId: string,
  key: string,
  version: string,
  attempts?: number,
  error?: number,
  supersededBy?: string,
  dueMs?: number,
  note?: string,
];

/** A run in one execution as the audit store hands it out. */
export interface AuditRecord {
  readonly message: string;
  readonly stream: string;
  readonly epoch: number;
  readonly redrive: number;
  readonly job: string;
  readonly execution: number;
  readonly worker: string;
  readonly service: string;
  readonly recordId: string;
  readonly key: string;
  readonly version: string;
  /** Final state, the state it waits in, or `lost` when the execution died without closing. */
  readonly state: string;
  readonly attempts: number;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly supersededBy: string;
  readonly dueMs: number;
  readonly note: string;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly steps: readonly TrailStep[];
}
