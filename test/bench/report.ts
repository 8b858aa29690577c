import { type Bar, type Metric, meets, ratiosOf, type Spread, spreadOf } from './figures.ts';
import type { ScenarioResult, SubjectResult } from './scenario.ts';
import type { Surroundings } from './surroundings.ts';

/** A whole benchmark, as written to the JSON file. */
export interface BenchResult {
  readonly format: 1;
  readonly mode: string;
  readonly surroundings: Surroundings;
  readonly scenarios: readonly ScenarioResult[];
}

/** The runs of one metric, in order of the rounds. */
export function valuesOf(subject: SubjectResult | undefined, metric: string): number[] {
  return (subject?.samples ?? []).flatMap(({ metrics }) => metrics[metric] ?? []);
}

export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Everything as text for a terminal. `earlier` adds the ratio to an earlier benchmark. */
export function textReport(result: BenchResult, earlier?: BenchResult): string {
  const { surroundings, mode } = result;
  const versions = Object.entries(surroundings.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${surroundings.machine} · load before ${surroundings.loadBefore.toFixed(1)} · ${surroundings.at.slice(0, 16)}Z · ${mode}`,
    `commit ${surroundings.commit} · ${versions.join(' · ')}`,
    ...(earlier === undefined
      ? []
      : [`compared with commit ${earlier.surroundings.commit} of ${earlier.surroundings.at.slice(0, 16)}Z`]),
    ...result.scenarios.flatMap((scenario) => [
      '',
      scenarioText(
        scenario,
        earlier?.scenarios.find(({ name }) => name === scenario.name),
      ),
    ]),
  ].join('\n');
}

function scenarioText(scenario: ScenarioResult, earlier: ScenarioResult | undefined): string {
  const rows = scenario.subjects.flatMap((subject) =>
    scenario.metrics.flatMap((metric) => rowOf(subject, metric, earlier)),
  );
  const errors = scenario.subjects.filter(({ error }) => error !== '');
  return [
    `${scenario.name}: ${scenario.title}`,
    ...columns(rows),
    ...errors.map(({ subject, error }) => `  ERROR ${subject}: ${error}`),
    ...scenario.bars.flatMap((bar) => barText(scenario, bar)),
    ...scenario.subjects.flatMap(cpuText),
    ...notesOf(scenario).map((note) => `  note: ${note}`),
  ].join('\n');
}

function rowOf(subject: SubjectResult, metric: Metric, earlier: ScenarioResult | undefined): string[][] {
  const values = valuesOf(subject, metric.name);
  if (values.length === 0) return [];
  const before = valuesOf(
    earlier?.subjects.find((each) => each.subject === subject.subject),
    metric.name,
  );
  const spread = spreadOf(values);
  const number = (value: number): string => formatNumber(value, metric.digits);
  return [
    [
      subject.subject,
      metric.name,
      number(spread.median),
      metric.unit,
      `(${number(spread.min)} – ${number(spread.max)}, ${values.length} runs)`,
      before.length === 0 ? '' : `× ${formatNumber(spread.median / spreadOf(before).median, 2)} of before`,
    ],
  ];
}

/** What a bar is about: the metric, or its ratio, with its spread. Undefined when a figure is missing. */
export function judgedBy(scenario: ScenarioResult, bar: Bar): Spread | undefined {
  const find = (name: string | undefined): SubjectResult | undefined =>
    scenario.subjects.find(({ subject }) => subject === name);
  const values = valuesOf(find(bar.subject), bar.metric);
  const judged = bar.over === undefined ? values : ratiosOf(values, valuesOf(find(bar.over), bar.metric));
  return judged.length === 0 || judged.some(Number.isNaN) ? undefined : spreadOf(judged);
}

function barText(scenario: ScenarioResult, bar: Bar): string[] {
  const spread = judgedBy(scenario, bar);
  if (spread === undefined) return [];
  const digits = bar.over === undefined ? 1 : 2;
  const [min, median, max] = [spread.min, spread.median, spread.max].map((value) =>
    formatNumber(value, digits),
  );
  const what = bar.over === undefined ? bar.subject : `${bar.subject} / ${bar.over}`;
  const wanted = bar.atLeast === undefined ? `≤ ${bar.atMost}` : `≥ ${bar.atLeast}`;
  return [
    `  ${meets(bar, spread.median) ? 'met   ' : 'MISSED'} ${what} ${bar.metric} ${median} (${min} – ${max}), bar ${wanted}`,
  ];
}

function cpuText({ subject, samples }: SubjectResult): string[] {
  const parts = new Map<string, number[]>();
  for (const { cpu = {} } of samples)
    for (const [part, value] of Object.entries(cpu)) parts.set(part, [...(parts.get(part) ?? []), value]);
  if (parts.size === 0) return [];
  const texts = [...parts].map(([part, values]) => `${part} ${formatNumber(spreadOf(values).median, 1)}`);
  return [`  CPU µs a message, ${subject}: ${texts.join(' · ')}`];
}

function notesOf({ subjects }: ScenarioResult): string[] {
  return [...new Set(subjects.flatMap(({ samples }) => samples.flatMap(({ notes = [] }) => notes)))];
}

function columns(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) => {
    const cells = row.map((cell, column) =>
      column === 2 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
    return `  ${cells.join('  ').trimEnd()}`;
  });
}
