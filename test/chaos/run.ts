import { setTimeout as delay } from 'node:timers/promises';
import type { AuditRecord } from '../../src/core/trail.ts';
import type { Acknowledged as AcknowledgedMessage, History, Truth } from '../reliability/history.ts';
import { checkInvariants, describeViolations, type Violation } from '../reliability/invariants.ts';
import { FINAL } from '../support/app.ts';
import type { KafkaCluster } from '../support/servers/kafka.ts';
import { uniqueName } from '../support/servers/shared.ts';
import type { Fault, Struck } from './faults/fault.ts';
import { FULL_LOAD, type Load, type LoadShape, type Planned, planLoad } from './load.ts';
import type { Plant } from './plants.ts';
import { type Acknowledged, openProducer } from './producing.ts';
import { seeded } from './random.ts';
import { startSampling, type Sampling } from './sampling.ts';
import { type Settled, settle } from './settle.ts';
import { type ChaosKafka, openWorld, PARTITIONS, type World } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  /** undefined: nothing happens, which is for planted bugs that need no fault. */
  readonly fault: Fault | undefined;
  readonly kafka: ChaosKafka;
  /** The same Kafka, when its brokers may be killed. */
  readonly cluster?: KafkaCluster | undefined;
  readonly plant?: Plant | undefined;
  readonly shape?: Partial<LoadShape>;
  /** How long to wait for rest, milliseconds. @defaultValue 120_000 */
  readonly settleMs?: number;
}

export interface RunReport {
  readonly seed: number;
  readonly fault: string;
  /** What shows that the fault happened. */
  readonly proof: string;
  readonly messages: number;
  readonly violations: readonly Violation[];
  /** The longest that a message waited for its end once the fault was over, milliseconds. */
  readonly recoveryMs: number;
  /** Everything final, Redis and every instance at the newest version. */
  readonly isConverged: boolean;
  /** Why it is not. */
  readonly unrest: string;
  readonly tookMs: number;
  /** Logs of the instances, when something was wrong. */
  readonly logs: string;
}

/** What went wrong, in full, with the way to repeat it; '' when nothing did. */
export function verdictOf({ seed, fault, violations, isConverged, unrest, proof, logs }: RunReport): string {
  if (violations.length === 0 && isConverged) return '';
  return [
    `seed ${seed}, fault ${fault}: ${proof}`,
    isConverged ? '' : `not at rest: ${unrest}`,
    describeViolations(violations),
    `again: npm run chaos -- --seed ${seed} --runs 1 --fault ${fault}`,
    logs,
  ]
    .filter(Boolean)
    .join('\n');
}

const INSTANCES = 2;
/**
 * `local.blindMs`, and time for a busy machine to do what is due: an answer that was asked for later than that may not be older
 * than what Redis had.
 */
const COHERENCE_MS = 5_000 + 3_000;
const PACE_MS = 90;
const REPEAT_PACE_MS = 300;
/** Batches of the end are held back until the fault is over: there is always something that comes after it. */
const HELD_BACK = 0.2;

/** One run: a world of its own, a load, a fault in the midst of it, rest, and what the invariants say of all that was seen. */
export async function runChaos(options: RunOptions): Promise<RunReport> {
  const startedMs = performance.now();
  const { seed, fault, kafka, cluster, plant } = options;
  const random = seeded(seed ^ 0x5eed);
  const load = planLoad(seed, { ...FULL_LOAD, partitions: PARTITIONS, ...options.shape });
  const world = await openWorld({
    seed,
    random,
    kafka,
    cluster,
    topic: uniqueName('chaos'),
    behindProxy: fault?.behindProxy,
    auditOnSmallDisk: fault?.auditOnSmallDisk === true,
    plant,
  });
  try {
    await Promise.all(Array.from({ length: INSTANCES }, () => world.start()));
    const sampling = startSampling(world, load.keys);
    const acknowledged: Acknowledged = new Map();
    const { struck, error } = await produceAndStrike(world, load, fault, acknowledged);
    const settled = await settle(world, load.keys, options.settleMs ?? 120_000);
    await sampling.stop();
    const audit = await world.books.rows();
    const deadLetters = [...(await world.books.deadLetters(0)).keys()];
    const proof = error === '' ? await proofOf(world, struck) : { fired: 0, words: error };
    const history = historyOf({
      world,
      load,
      fault,
      acknowledged,
      struck,
      settled,
      sampling,
      audit,
      deadLetters,
      fired: proof.fired,
    });
    const violations = checkInvariants(history);
    const isConverged = settled.unrest === '';
    return {
      seed,
      fault: fault?.name ?? 'none',
      proof: proof.words,
      messages: settled.written.length,
      violations,
      recoveryMs: struck === undefined ? 0 : recoveryOf(acknowledged, audit, struck),
      isConverged,
      unrest: settled.unrest,
      tookMs: Math.round(performance.now() - startedMs),
      logs:
        violations.length === 0 && isConverged
          ? ''
          : world.instances.map(({ name, log }) => `── ${name}\n${log()}`).join('\n'),
    };
  } finally {
    await world.close();
  }
}

/** The fault strikes between a quarter and two fifths of the load. */
async function produceAndStrike(
  world: World,
  { batches }: Load,
  fault: Fault | undefined,
  acknowledged: Acknowledged,
): Promise<{ struck: Struck | undefined; error: string }> {
  const strikesAt = Math.floor(batches.length * (0.25 + world.random.next() * 0.15));
  const heldBackAt = Math.floor(batches.length * (1 - HELD_BACK));
  const producer = await openProducer(world, acknowledged);
  let striking: Promise<{ struck: Struck | undefined; error: string }> | undefined;
  for (const [at, batch] of batches.entries()) {
    if (at === strikesAt && fault !== undefined)
      striking = fault.strike(world).then(
        (struck) => ({ struck, error: '' }),
        (error: unknown) => ({ struck: undefined, error: String(error) }),
      );
    if (at === heldBackAt && striking !== undefined) {
      const again = batches.slice(0, heldBackAt).map((sent) => sent.map(asDuplicate));
      await repeatUntil(striking, again, (old) => producer.send(old));
    }
    await producer.send(batch);
    await delay(PACE_MS);
  }
  await producer.close();
  return (await striking) ?? { struck: undefined, error: '' };
}

/** A fault that lasts longer than the load: what was sent is sent again, slowly, so that it has something to strike. */
async function repeatUntil(
  striking: Promise<unknown>,
  batches: readonly (readonly Planned[])[],
  send: (batch: readonly Planned[]) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  void striking.finally(() => over.abort());
  for (let at = 0; !over.signal.aborted; at += 1) {
    await send(batches[at % batches.length] ?? []);
    await Promise.race([striking, delay(REPEAT_PACE_MS)]);
  }
}

function asDuplicate(planned: Planned): Planned {
  return { ...planned, kind: 'duplicate', truth: undefined };
}

async function proofOf(
  world: World,
  struck: Struck | undefined,
): Promise<{ readonly fired: number; readonly words: string }> {
  if (struck === undefined) return { fired: 1, words: '' };
  try {
    const more = (await struck.prove?.(world)) ?? '';
    return { fired: 1, words: [struck.proof, more].filter(Boolean).join('; ') };
  } catch (error) {
    return { fired: 0, words: String(error) };
  }
}

/**
 * From when the service could recover until the last message had its end; 0 when none had to wait. What Redis forgot has
 * its end when it was done once more.
 */
function recoveryOf(acknowledged: Acknowledged, audit: readonly AuditRecord[], struck: Struck): number {
  const { otherClock, overMs, rolledBackMs = 0 } = struck;
  const ends = Map.groupBy(
    audit.filter(({ state, worker }) => FINAL.has(state) && worker !== otherClock),
    ({ message }) => message,
  );
  const waits = [...acknowledged].map(([message, { atMs }]) => {
    const endsMs = (ends.get(message) ?? []).map(({ endedMs }) => endedMs);
    if (endsMs.length === 0) return 0;
    const endMs = atMs < rolledBackMs ? Math.max(...endsMs) : Math.min(...endsMs);
    return endMs - Math.max(atMs, overMs);
  });
  return Math.round(Math.max(0, ...waits));
}

interface Seen {
  readonly world: World;
  readonly load: Load;
  readonly fault: Fault | undefined;
  readonly acknowledged: Acknowledged;
  readonly struck: Struck | undefined;
  readonly settled: Settled;
  readonly sampling: Sampling;
  readonly audit: readonly AuditRecord[];
  readonly deadLetters: readonly string[];
  readonly fired: number;
}

function historyOf(seen: Seen): History {
  const { world, load, fault, struck, settled, sampling } = seen;
  const fromMs = struck?.rolledBackMs;
  return {
    acknowledged: acknowledgedOf(seen),
    truth: load.batches.flat().flatMap(truthOf),
    audit: seen.audit,
    deadLetters: seen.deadLetters,
    redis: settled.redis.map(({ key, text, fence }) => ({ key, text, fence })),
    local: settled.local
      .filter(({ tier, isPresent }) => tier === 'local' && isPresent)
      .map(({ reader, key, version, text }) => ({ instance: reader, key, version, text: text ?? '' })),
    samples: sampling.samples,
    accepted: acceptedOf(world, fromMs),
    offsets: sampling.offsets,
    levels: sampling.levels,
    faults: fault === undefined ? [] : [{ fault: fault.name, fired: seen.fired }],
    repairs: fromMs === undefined ? [] : [{ fromMs, toMs: settled.atMs, why: 'Redis was rolled back' }],
    mayExpire: false,
    localTiers: 'atOnce',
    coherenceMs: COHERENCE_MS,
  };
}

/** What is in the topic: what was acknowledged by name, and what a producer that was told nothing sent once more. */
function acknowledgedOf({ acknowledged, settled }: Seen): AcknowledgedMessage[] {
  const unnamed = settled.written.filter((message) => !acknowledged.has(message));
  return [
    ...[...acknowledged].map(([message, { planned }]) => ({ message, ...askedBy(planned) })),
    ...unnamed.map((message) => ({ message, key: '', version: '', op: 'upsert' as const })),
  ];
}

function askedBy({ key, version, op, service, text }: Planned): Truth {
  return {
    key,
    version: version === 0 ? '' : `counter:${version}`,
    op,
    text: service === 'stockService' && op === 'upsert' ? text : undefined,
  };
}

function truthOf({ key, version, op, truth }: Planned): Truth[] {
  if (truth === undefined) return [];
  return [{ key, version: `counter:${version}`, op, text: truth.text ?? undefined }];
}

/**
 * By version and place in a stream: the clocks of the processes cannot tell in which order Redis took their writes, and a
 * process that was stopped notes late. So this finds a version that was accepted twice; an older one over a newer shows
 * elsewhere.
 */
function acceptedOf({ instances }: World, rolledBackMs = 0): History['accepted'] {
  const isAfter = ({ atMs }: { readonly atMs: number }): number => Number(atMs >= rolledBackMs);
  return instances
    .flatMap((instance) => instance.ledger())
    .filter((line) => line.kind === 'accepted')
    .sort(
      (a, b) =>
        isAfter(a) - isAfter(b) ||
        inOrder(a.version, b.version) ||
        inOrder(a.message, b.message) ||
        a.atMs - b.atMs,
    );
}

/** Texts whose last part is a number: versions (`counter:120`) and message ids (`topic-0@17`). */
function inOrder(a: string, b: string): number {
  return numeric.compare(a, b);
}

const numeric = new Intl.Collator('en', { numeric: true });
