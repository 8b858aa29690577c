/**
 * Runs the product's own chart, executor, effects, hand-off, retry and audit code over faulty servers in memory, on a
 * virtual clock. docs/reliability.md says what it proves.
 *
 *     npm run simulate                                 1,000 seeds from a random one
 *     npm run simulate -- --seed 1 --runs 10000        these seeds
 *     npm run simulate -- --seed 4711 --runs 1         one seed again, step by step the same; prints the trails of what failed
 *     npm run simulate -- --fault "redis rolled back"  only this fault (may be repeated); `--faults` lists them
 *     npm run simulate -- --property 2000              random histories over a real Redis end at the newest version
 *     npm run simulate -- --from-trail cache-message-0@17 --audit data/audit.db
 *                                                      a recorded message once more (or --url of a running service)
 *
 * Exits with 1 when a promise was broken, and when a fault that was asked for never happened.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { faultNames } from './faults.ts';
import { replayTrail } from './from-trail.ts';
import { explainSeed, runSeeds, type SeedSummary } from './seed-range.ts';

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    runs: { type: 'string', default: '1000' },
    threads: { type: 'string', default: '0' },
    fault: { type: 'string', multiple: true },
    faults: { type: 'boolean', default: false },
    property: { type: 'string' },
    'from-trail': { type: 'string' },
    audit: { type: 'string' },
    url: { type: 'string' },
  },
});

process.exit(await main());

async function main(): Promise<number> {
  if (options.faults) return say(faultNames.join('\n'));
  const message = options['from-trail'];
  if (message !== undefined) return replayTrail({ message, audit: options.audit, url: options.url });
  if (options.property !== undefined) return runProperty(number('property', options.property));
  const unknown = options.fault?.find((name) => !faultNames.includes(name));
  if (unknown !== undefined) {
    console.error(`There is no fault "${unknown}". npm run simulate -- --faults lists them.`);
    return 2;
  }
  return simulate();
}

async function simulate(): Promise<number> {
  const from = options.seed === undefined ? randomInt(1, 1_000_000_000) : number('seed', options.seed);
  const runs = number('runs', options.runs);
  const threads = number('threads', options.threads);
  const startMs = performance.now();
  const done: SeedSummary[] = [];
  await runSeeds({ from, runs, threads, faults: options.fault }, (summary) => {
    done.push(summary);
    if (summary.violations.length > 0) tellFailure(summary);
    if (done.length % 1_000 === 0) console.log(`  ${done.length} of ${runs}`);
  });
  done.sort((a, b) => a.seed - b.seed);
  const broken = done.filter(({ violations }) => violations.length > 0);
  const counted = done.filter(({ counts }) => counts);
  if (broken[0] !== undefined) console.log(`\n${await explainSeed(broken[0].seed, options.fault)}`);
  tellResult(done, counted, broken.length, (performance.now() - startMs) / 1_000);
  return broken.length > 0 || counted.length === 0 ? 1 : 0;
}

function tellFailure({ seed, faults, violations }: SeedSummary): void {
  const asked = (options.fault ?? []).map((name) => ` --fault "${name}"`).join('');
  console.log(`seed ${seed} (${faults.join(', ')}): ${violations.length} violations; the first:`);
  console.log(`  ${violations[0]}`);
  console.log(`  again: npm run simulate -- --seed ${seed} --runs 1${asked}`);
}

function tellResult(
  done: readonly SeedSummary[],
  counted: readonly SeedSummary[],
  broken: number,
  seconds: number,
): void {
  const sum = (of: (summary: SeedSummary) => number): number =>
    done.reduce((total, one) => total + of(one), 0);
  const fired = new Map<string, number>();
  for (const { faults } of counted) for (const fault of faults) fired.set(fault, (fired.get(fault) ?? 0) + 1);
  const rarest = Math.min(...faultNames.map((name) => fired.get(name) ?? 0));
  const [first, last] = [done[0]?.seed, done.at(-1)?.seed];
  console.log(
    [
      '',
      `seeds ${first}–${last}: ${done.length} runs, ${counted.length} count (every fault of theirs happened), ${broken} broke a promise`,
      `${sum(({ messages }) => messages)} messages, ${sum(({ steps }) => steps)} steps, ${Math.round(sum(({ virtualMs }) => virtualMs) / 3_600_000)} hours of virtual time in ${seconds.toFixed(1)} s`,
      `${fired.size} of ${faultNames.length} faults happened; the rarest ${rarest} times`,
      `${done.length - broken} passed, ${broken} failed`,
    ].join('\n'),
  );
}

async function runProperty(cases: number): Promise<number> {
  const { checkNewestWins } = await import('../newest-wins.ts');
  const { startRedis } = await import('../../support/servers/redis.ts');
  const seed = options.seed === undefined ? randomInt(1, 1_000_000_000) : number('seed', options.seed);
  const server = await startRedis();
  const startMs = performance.now();
  try {
    await checkNewestWins({ url: server.url, cases, seed });
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
    return say(`${cases} random histories ended at the newest version (seed ${seed}, ${seconds} s)`);
  } catch (error) {
    console.error(error instanceof Error ? `${error.message}\n${String(error.cause)}` : error);
    return 1;
  } finally {
    await server.stop();
  }
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} must be a whole number, not "${text}".`);
  process.exit(2);
}

function say(text: string): number {
  console.log(text);
  return 0;
}
