/**
 * What `npm test` runs: prepares the machine, runs every suite, and ends with one line that machines can read too.
 *
 *     npm test                          everything
 *     npm test -- redis fence           only files whose path contains one of these words
 *     npm test -- --project unit        only this project (may be repeated)
 *     npm test -- -t "name"             only tests whose name matches
 *     npm test -- --strict              a skipped test is a failure, as it always is under CI
 */
import { parseArgs } from 'node:util';
import type { Reporter, TestModule } from 'vitest/node';
import { isStrict, type Need, provide } from './support/needs.ts';
import { ensureKafkaJars, hasKafkaJars, type KafkaVersion } from './support/servers/kafka-jars.ts';

const PROJECTS = ['unit', 'machine', 'contract', 'integration', 'e2e', 'chaos'] as const;
const WITHOUT_SERVERS: ReadonlySet<string> = new Set(['unit', 'machine']);
const NEEDS: readonly Need[] = ['redis', 'kafka', 'zookeeper', 'postgres', 'faketime', 'chromium', 'compose'];
const KAFKA_VERSIONS: readonly KafkaVersion[] = ['4.3.1', '3.9.2'];

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

requireNode(22, 19);
process.exit(await main());

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      strict: { type: 'boolean', default: false },
      project: { type: 'string', multiple: true, default: [...PROJECTS] },
      testNamePattern: { type: 'string', short: 't' },
    },
  });
  if (values.strict) process.env['CACHEWRIGHT_STRICT'] = '1'; // the test processes inherit it
  if (values.project.some((name) => !WITHOUT_SERVERS.has(name))) await prepareMachine();

  const tally = await runSuites(positionals, values.project, values.testNamePattern);
  const { passed, failed, skipped } = tally;
  if (passed + failed === 0) console.log('no test was run: that is a failure');
  if (skipped > 0 && isStrict())
    console.log(`${skipped} tests were skipped: under CI or --strict that is a failure`);
  console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed > 0 || passed === 0 || (skipped > 0 && isStrict()) ? 1 : 0;
}

/** Installs and fetches what the suites need. What cannot be had is named; the suites decide what that means for them. */
async function prepareMachine(): Promise<void> {
  const lack = provide(NEEDS);
  if (lack !== '') console.log(`some suites cannot run: ${lack}`);
  for (const version of KAFKA_VERSIONS.filter((each) => !hasKafkaJars(each))) {
    console.log(`fetching Kafka ${version}`);
    try {
      await ensureKafkaJars(version);
    } catch (error) {
      console.log(`  ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

async function runSuites(
  files: string[],
  project: string[],
  testNamePattern: string | undefined,
): Promise<Tally> {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const counter: Reporter = {
    onTestRunEnd(modules, unhandledErrors) {
      for (const module of modules) count(module, tally);
      tally.failed += unhandledErrors.length;
    },
  };
  const { startVitest } = await import('vitest/node');
  const vitest = await startVitest('test', files, {
    watch: false,
    project,
    reporters: ['default', counter],
    ...(testNamePattern === undefined ? {} : { testNamePattern }),
  });
  await vitest.close();
  return tally;
}

/**
 * Adds up one file. A file that could not be loaded and a suite whose hook threw count as failures, since vitest
 * reports their tests as skipped.
 */
function count(module: TestModule, tally: Tally): void {
  tally.failed += module.errors().length;
  for (const suite of module.children.allSuites()) tally.failed += suite.errors().length;
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state === 'passed') tally.passed += 1;
    else if (state === 'skipped') tally.skipped += 1;
    else tally.failed += 1;
  }
}

function requireNode(major: number, minor: number): void {
  const [haveMajor = 0, haveMinor = 0] = process.versions.node.split('.').map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  console.error(
    `The tests need Node ${major}.${minor} or newer; this is ${process.versions.node}. Run them with npm test after npm ci.`,
  );
  process.exit(2);
}
