/**
 * How fast Cachewright is, beside two baselines, on this machine.
 *
 *     npm run bench                              every scenario but those on demand, about ten minutes
 *     npm run bench -- --quick                   small loads
 *     npm run bench -- --full                    every scenario, with millions of messages
 *     npm run bench -- --scenario backlog        only this one (may be repeated)
 *     npm run bench -- --compare FILE            ratios to an earlier run's JSON
 *     npm run bench -- --runs 5                  rounds; 3 unless told
 *     npm run bench -- --subject null            only this subject (may be repeated)
 *     npm run bench -- --json FILE --out DIR     where results go; bench-results/ unless told
 *
 * Exits with 1 when a scenario's result was wrong: a wrong result has no figure.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { provide } from '../support/needs.ts';
import { svgChart } from './chart.ts';
import { createLab, type Mode } from './lab.ts';
import { buildProduct } from './product.ts';
import { type BenchResult, textReport } from './report.ts';
import { failedScenario, runScenario, type Scenario, type ScenarioResult } from './scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';
import { lookAround } from './surroundings.ts';

const { values: options } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true },
    subject: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    compare: { type: 'string' },
    json: { type: 'string' },
    out: { type: 'string', default: 'bench-results' },
  },
});

process.exit(await main());

async function main(): Promise<number> {
  const chosen = choose(options.scenario);
  if (chosen === undefined) return 2;
  const mode: Mode = options.full ? 'full' : options.quick ? 'quick' : 'default';
  const earlier = options.compare === undefined ? undefined : readResult(options.compare);
  const lack = provide(['redis', 'kafka']);
  if (lack !== '') {
    console.error(lack);
    return 2;
  }
  buildProduct();
  const surroundings = lookAround();
  const lab = createLab(mode, Math.max(1, Number.parseInt(options.runs, 10) || 3));
  const scenarios: ScenarioResult[] = [];
  try {
    for (const scenario of chosen) {
      scenarios.push(
        await runScenario(onlySubjects(scenario), lab).catch((error: unknown) =>
          failedScenario(scenario, error),
        ),
      );
    }
  } finally {
    lab.say('stopping the servers');
    await lab.close();
    lab.say('');
  }
  const result: BenchResult = { format: 1, mode, surroundings, scenarios };
  console.log(textReport(result, earlier));
  write(result);
  return scenarios.some(({ subjects }) => subjects.some(({ error }) => error !== '')) ? 1 : 0;
}

function choose(names: readonly string[] | undefined): readonly Scenario[] | undefined {
  const unknown = names?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown === undefined)
    return SCENARIOS.filter(
      ({ name, isOnDemand = false }) => names?.includes(name) ?? (options.full || !isOnDemand),
    );
  console.error(
    `There is no scenario ${unknown}; there are ${SCENARIOS.map(({ name }) => name).join(', ')}.`,
  );
  return undefined;
}

/** For work on one subject: the others are left out, and with them the ratios. */
function onlySubjects(scenario: Scenario): Scenario {
  const { subject: wanted } = options;
  if (wanted === undefined) return scenario;
  return {
    ...scenario,
    async prepare(lab) {
      const prepared = await scenario.prepare(lab);
      return { ...prepared, trials: prepared.trials.filter(({ subject }) => wanted.includes(subject)) };
    },
  };
}

function write(result: BenchResult): void {
  mkdirSync(options.out, { recursive: true });
  const name = result.surroundings.at.slice(0, 19).replaceAll(':', '');
  const jsonFile = options.json ?? join(options.out, `${name}.json`);
  const chartFile = join(options.out, `${name}.svg`);
  writeFileSync(jsonFile, `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(chartFile, svgChart(result));
  console.log(`\nwritten: ${jsonFile}, ${chartFile}`);
}

function readResult(file: string): BenchResult {
  const result: BenchResult = JSON.parse(readFileSync(file, 'utf8'));
  if (result.format !== 1) throw new Error(`${file} is not a result of this benchmark`);
  return result;
}
