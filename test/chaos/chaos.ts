/**
 * Faults on real servers: real Kafka and Redis, service processes of their own, a load with updates, deletes, duplicates
 * and late messages, readers that poll all through, and the invariants over all that was seen.
 *
 *     npm run chaos                               one run of every fault
 *     npm run chaos -- --seed 7 --runs 20         seeds 7 … 26; a seed decides load and fault
 *     npm run chaos -- --fault redis-rollback     only this fault (may be repeated)
 *     npm run chaos -- --nightly                  also the faults of the nightly set
 *     npm run chaos -- --json FILE                one line of JSON per run is added to this file
 *     npm run chaos -- --report FILE              no run: the table of what such a file holds (may be repeated)
 *
 * Exits with 1 when a promise was broken or a fault did not happen; the line of a failed run says how to repeat it.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { patchIdleKafka } from '../../src/adapters/kafka-idle-patch.ts';
import { provide } from '../support/needs.ts';
import { type KafkaCluster, startKafka } from '../support/servers/kafka.ts';
import { sweepLeftovers } from '../support/servers/leftovers.ts';
import { FAULTS, faultNamed } from './faults/index.ts';
import type { Fault } from './faults/fault.ts';
import { readReports, reportTable } from './report.ts';
import { type RunReport, runChaos, verdictOf } from './run.ts';

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string' },
    fault: { type: 'string', multiple: true },
    nightly: { type: 'boolean', default: false },
    json: { type: 'string' },
    report: { type: 'string', multiple: true },
  },
});

/** Violations shown on the terminal, without their trails. */
const SHOWN = 5;

process.exit(await main());

async function main(): Promise<number> {
  if (options.report !== undefined) {
    console.log(reportTable(readReports(options.report)));
    return 0;
  }
  const faults = chosenFaults();
  if (faults === undefined) return 2;
  const seed = Number(options.seed);
  const runs = Number(options.runs ?? faults.length);
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(runs) || runs < 1) {
    console.error('--seed and --runs are whole numbers');
    return 2;
  }
  const lack = provide(['redis', 'kafka']);
  if (lack !== '') {
    console.error(lack);
    return 2;
  }
  sweepLeftovers();
  patchIdleKafka();
  const kafkas = lazyKafkas();
  const reports: RunReport[] = [];
  try {
    for (let at = seed; at < seed + runs; at += 1) {
      const fault = faults[at % faults.length];
      if (fault !== undefined) reports.push(await oneRun(at, fault, kafkas));
    }
  } finally {
    await kafkas.stop();
  }
  console.log(`\n${reportTable(reports)}`);
  const bad = reports.filter(isBad).length;
  console.log(`\n${reports.length - bad} passed, ${bad} failed`);
  return bad > 0 ? 1 : 0;
}

/** A seed stands for one of them: its rest of a division by their number. */
function chosenFaults(): readonly Fault[] | undefined {
  const { fault: names, nightly } = options;
  const unknown = names?.find((name) => faultNamed(name) === undefined);
  if (unknown !== undefined) {
    console.error(`There is no fault ${unknown}; there are ${FAULTS.map(({ name }) => name).join(', ')}.`);
    return undefined;
  }
  if (names !== undefined) return FAULTS.filter(({ name }) => names.includes(name));
  return FAULTS.filter(({ isNightly = false }) => nightly || !isNightly);
}

async function oneRun(seed: number, fault: Fault, kafkas: ReturnType<typeof lazyKafkas>): Promise<RunReport> {
  const cluster = fault.killsBrokers === true ? await kafkas.three() : undefined;
  const kafka = cluster ?? (await kafkas.one());
  process.stdout.write(`seed ${seed} ${fault.name} … `);
  const report = await runChaos({ seed, fault, kafka, cluster });
  const { messages, recoveryMs, tookMs, proof, violations } = report;
  const verdict = isBad(report) ? 'FAILED' : 'ok';
  console.log(
    `${verdict}: ${messages} messages, recovered in ${(recoveryMs / 1000).toFixed(1)} s; ${proof} (${(tookMs / 1000).toFixed(0)} s)`,
  );
  if (isBad(report)) {
    const file = join(tmpdir(), `cachewright-chaos-seed-${seed}-${fault.name}.log`);
    writeFileSync(file, verdictOf(report));
    const shown = violations.slice(0, SHOWN).map((violation) => ({ ...violation, trail: '' }));
    console.log(verdictOf({ ...report, violations: shown, logs: '' }));
    if (violations.length > SHOWN) console.log(`… and ${violations.length - SHOWN} more`);
    console.log(`all of it, with trails and the logs of the instances: ${file}`);
  }
  if (options.json !== undefined) {
    const line = {
      ...report,
      logs: '',
      violations: violations.map(({ invariant, what }) => ({ invariant, what })),
    };
    appendFileSync(options.json, `${JSON.stringify(line)}\n`);
  }
  return report;
}

function isBad({ violations, isConverged }: RunReport): boolean {
  return violations.length > 0 || !isConverged;
}

/** One broker for all runs, and three for those that kill some: each started when first needed. */
function lazyKafkas() {
  let [one, three]: (Promise<KafkaCluster> | undefined)[] = [];
  return {
    one: () => (one ??= startKafka()),
    three: () => (three ??= startKafka({ brokers: 3 })),
    stop: async () => void (await Promise.all([one, three].map(async (each) => (await each)?.stop()))),
  };
}
