import type { Bar, Metric, Sample } from './figures.ts';
import type { Lab } from './lab.ts';

/** One thing to measure, on several subjects. */
export interface Scenario {
  readonly name: string;
  readonly metrics: readonly Metric[];
  readonly bars: readonly Bar[];
  /** Runs when it is named, and with `--full`. @defaultValue false */
  readonly isOnDemand?: boolean;
  /** Builds the load; what it costs is not measured. */
  prepare(lab: Lab): Promise<Prepared>;
}

export interface Prepared {
  /** The load in one line. */
  readonly title: string;
  readonly trials: readonly Trial[];
  close?(): Promise<void>;
}

export interface Trial {
  readonly subject: string;
  /** Measures once, from fresh state. Throws when the result is wrong: a wrong result has no figure. */
  run(round: number): Promise<Sample>;
}

export interface SubjectResult {
  readonly subject: string;
  readonly samples: readonly Sample[];
  readonly error: string;
}

export interface ScenarioResult {
  readonly name: string;
  readonly title: string;
  readonly metrics: readonly Metric[];
  readonly bars: readonly Bar[];
  readonly subjects: readonly SubjectResult[];
}

/** Runs the trials in turn, round after round, so that subjects meet the same weather on a busy machine. */
export async function runScenario(scenario: Scenario, lab: Lab): Promise<ScenarioResult> {
  lab.say(`${scenario.name}: preparing`);
  const prepared = await scenario.prepare(lab);
  const samples = new Map<string, Sample[]>(prepared.trials.map(({ subject }) => [subject, []]));
  const errors = new Map<string, string>();
  try {
    for (let round = 0; round < lab.runs; round += 1) {
      for (const trial of prepared.trials) {
        const { subject } = trial;
        if (errors.has(subject)) continue;
        lab.say(`${scenario.name}: run ${round + 1} of ${lab.runs}, ${subject}`);
        try {
          samples.get(subject)?.push(await trial.run(round));
        } catch (error) {
          errors.set(subject, describe(error));
        }
      }
    }
  } finally {
    await prepared.close?.();
  }
  const subjects = prepared.trials.map(({ subject }) => {
    const error = errors.get(subject) ?? '';
    return { subject, samples: error === '' ? (samples.get(subject) ?? []) : [], error };
  });
  return {
    name: scenario.name,
    title: prepared.title,
    metrics: scenario.metrics,
    bars: scenario.bars,
    subjects,
  };
}

/** A scenario that could not even be prepared. */
export function failedScenario(scenario: Scenario, error: unknown): ScenarioResult {
  const { name, metrics, bars } = scenario;
  return {
    name,
    title: '',
    metrics,
    bars,
    subjects: [{ subject: 'preparation', samples: [], error: describe(error) }],
  };
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${describe(error.cause)})`;
}
