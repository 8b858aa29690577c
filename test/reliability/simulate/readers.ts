/** Readers of every instance, at any moment, one key or all; several of an instance at a time, as callers of a service are. */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { formatVersion } from '../../../src/core/version.ts';
import type { ReadOutcome } from '../../../src/read/read-record.ts';
import type { LevelSample, ReaderSample } from '../history.ts';
import type { Instance } from './instance.ts';
import type { Random } from './random.ts';

/** Readers of an instance. */
const EACH = 2;
/** How long a read takes at most, when servers are away and lease holders die; and when nothing goes wrong, milliseconds. */
const MOST_MS = 90_000;
const MOST_CALM_MS = 2_500;

export interface ReadersOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly services: readonly string[];
  readonly ids: readonly string[];
  /** Between two reads of a reader, at most, milliseconds. */
  readonly pauseMs: number;
  /** Whether what neither tier has is read from the source; else the readers only look at what the tiers say. */
  readonly throughToSource: boolean;
  readonly samples: ReaderSample[];
  readonly levels: LevelSample[];
  /** No fault strikes in this run. */
  readonly isCalm: boolean;
}

export class Readers {
  throughToSource: boolean;
  readonly #options: ReadersOptions;
  readonly #known = new Set<Instance>();

  constructor(options: ReadersOptions) {
    this.#options = options;
    this.throughToSource = options.throughToSource;
  }

  /** Every instance is read from when it is first seen, for as long as its process lives. */
  readFrom(instances: readonly Instance[]): void {
    for (const instance of instances) {
      if (this.#known.has(instance)) continue;
      this.#known.add(instance);
      for (let count = 0; count < EACH; count += 1) void this.#read(instance);
    }
  }

  async #read(instance: Instance): Promise<void> {
    const { clock, random, pauseMs } = this.#options;
    while (!instance.process.isDead) {
      await clock.sleep(random.between(5, pauseMs));
      if (instance.process.isRunning) await this.#ask(instance);
    }
  }

  async #ask(instance: Instance): Promise<void> {
    const { clock, random, services, ids, levels, isCalm } = this.#options;
    const name = random.pick(services);
    const service = instance.services.get(name);
    if (service === undefined) return;
    const fromSource = this.throughToSource && name === 'fetched';
    const asked = { ...service, read: { ...service.read, fromSource } };
    const sinceMs = clock.now();
    const wasBlind = instance.follower.state() === 'blind';
    const wanted = random.chance(0.3) ? ids : [random.pick(ids)];
    const outcomes = await (wanted.length > 1
      ? instance.reader.getMany(asked, wanted)
      : one(instance.reader.get(asked, wanted[0] ?? '')));
    const atMs = clock.now();
    const isBlind = wasBlind && instance.follower.state() === 'blind';
    levels.push({
      what: `a read of ${name}, milliseconds`,
      value: atMs - sinceMs,
      bound: isCalm ? MOST_CALM_MS : MOST_MS,
      atMs,
    });
    outcomes.forEach((outcome, index) => {
      const key = asked.keyOf(wanted[index] ?? '');
      this.#note(outcome, { reader: instance.process.name, key, sinceMs, atMs, isBlind });
    });
  }

  #note(
    outcome: ReadOutcome,
    look: Pick<Required<ReaderSample>, 'reader' | 'key' | 'sinceMs' | 'atMs' | 'isBlind'>,
  ): void {
    if (outcome.kind !== 'found') return;
    const { tier, version, entry } = outcome.record;
    // An answer that says it is stale promises nothing; what Redis did not take is served, and kept nowhere.
    if (version === undefined || tier === 'stale' || (tier === 'source' && entry === undefined)) return;
    this.#options.samples.push({
      ...look,
      tier: tier === 'local' ? 'local' : 'redis',
      version: formatVersion(version),
      isPresent: true,
    });
  }
}

/** A read that fails tells its caller why, and says nothing about the key: Redis or the source is away. */
async function one(reading: ReturnType<Instance['reader']['get']>): Promise<ReadOutcome[]> {
  try {
    const record = await reading;
    return record === undefined ? [] : [{ kind: 'found', record }];
  } catch {
    return [];
  }
}
