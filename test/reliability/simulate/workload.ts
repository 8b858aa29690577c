/** Changes and the messages that tell of them: updates, deletes, duplicates, late ones, broken ones. */
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import type { Acknowledged } from '../history.ts';
import type { Caching } from './instance.ts';
import type { Random } from './random.ts';
import { PARTITIONS, type Servers, TOPIC } from './servers.ts';
import type { TruthSource } from './truth.ts';

/** Drawn once per run. */
export interface Habits {
  readonly messages: number;
  readonly keys: number;
  /** Whether all messages of a key go to one partition, as a keyed producer has it. */
  readonly isKeyed: boolean;
  /** Also records without a version of their own, which the place of their message orders: only with a keyed producer. */
  readonly hasOrdered: boolean;
  /** Answers are slow and values vanish, whatever else happens: that makes the windows wide in which other faults strike. */
  readonly isSlow: boolean;
  /** Whether messages of the fetched service tell the version they are about. */
  readonly announces: boolean;
  readonly pauseMs: number;
  /** Between two reads of a reader, at most. */
  readonly readPauseMs: number;
  readonly readsThrough: boolean;
  readonly caching: Caching;
}

export interface Workload {
  readonly acknowledged: Acknowledged[];
  /** Sends until all is sent and `wantsMore` says no, at most three times as much. */
  run(wantsMore: () => boolean): Promise<void>;
  /** A message that ends whoever reads it. */
  sendKiller(): void;
}

/** Stands for the version that a message has by its offset, until it is sent. */
const BY_PLACE = 'offset:';

interface Draft {
  readonly key: string;
  readonly body: object | string;
  readonly about: Omit<Acknowledged, 'message'>;
}

export function habitsOf(random: Random): Omit<Habits, 'hasOrdered' | 'isSlow'> {
  return {
    messages: random.int(15, 60),
    keys: random.int(1, 4),
    isKeyed: random.chance(0.5),
    announces: random.chance(0.6),
    pauseMs: random.pick([20, 150, 600]),
    readPauseMs: random.pick([100, 400, 1_500]),
    readsThrough: random.chance(0.6),
    caching: {
      // Mostly longer than a run: then nothing but the invalidation log makes a local tier right.
      localTtlMs: random.pick([1_500, 3_600_000, 3_600_000]),
      staleWhileRevalidateMs: random.pick([0, 0, 2_000]),
      failSafeMs: random.pick([0, 0, 20_000]),
      negativeTtlMs: random.pick([0, 5_000]),
    },
  };
}

export function createWorkload(options: {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly servers: Servers;
  readonly truth: TruthSource;
  readonly habits: Habits;
}): Workload {
  const { clock, random, servers, truth, habits } = options;
  const acknowledged: Acknowledged[] = [];
  const versions = new Map<string, number>();
  const sent: Draft[] = [];

  const send = (draft: Draft): void => {
    const { key, body, about } = draft;
    const partition = habits.isKeyed ? partitionOf(key) : random.int(0, PARTITIONS - 1);
    const value = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
    const log = servers.kafka.log(TOPIC, partition);
    const offset = log.low + log.records.length;
    servers.kafka.append(TOPIC, partition, [
      { value, key: Buffer.from(key), headers: [], timestampMs: Math.floor(clock.now()) },
    ]);
    const version = about.version === BY_PLACE ? `offset:${offset}` : about.version;
    acknowledged.push({ ...about, version, message: `${TOPIC}-${partition}@${offset}` });
    sent.push(draft);
  };

  const inline = (id: string): Draft => {
    const key = `inline_${id}`;
    const newest = versions.get(id) ?? 0;
    const isLate = newest > 1 && random.chance(0.15);
    const version = isLate ? random.int(1, newest) : newest + 1;
    if (!isLate) versions.set(id, version);
    // The version of a record and its bytes belong together: a late message tells what was true then.
    const op = isDeletion(version) ? 'delete' : 'upsert';
    const body = { serviceId: 'inline', id, version, text: `v${version}`, ...(op === 'delete' && { op }) };
    const text = op === 'upsert' ? JSON.stringify(body) : undefined;
    return { key, body, about: { key, version: `counter:${version}`, op, text } };
  };

  const fetched = (id: string): Draft => {
    const key = `fetched_${id}`;
    const op = random.chance(0.15) ? 'delete' : 'upsert';
    const now = truth.change(id, key, op);
    // A delete without a version buries whatever stands there when it is processed (docs/failure-modes.md, weaknesses).
    const isTold = habits.announces || op === 'delete';
    const body = {
      serviceId: 'fetched',
      id,
      ...(op === 'delete' && { op }),
      ...(isTold && { version: Number(now.version.slice('counter:'.length)) }),
    };
    return { key, body, about: { ...now, text: undefined } };
  };

  const ordered = (id: string): Draft => {
    const key = `ordered_${id}`;
    const op = random.chance(0.15) ? 'delete' : 'upsert';
    const body = { serviceId: 'ordered', id, text: `v${sent.length}`, ...(op === 'delete' && { op }) };
    const text = op === 'upsert' ? JSON.stringify(body) : undefined;
    return { key, body, about: { key, version: BY_PLACE, op, text } };
  };

  const broken = (): Draft => ({
    key: 'broken',
    body: random.pick([
      '{"serviceId":',
      '{"serviceId":"nobody","id":1}',
      '{"serviceId":"inline","id":"1"}',
      '[]',
    ]),
    about: { key: '', version: '', op: 'upsert' },
  });

  const one = (): Draft => {
    if (random.chance(0.03)) return broken();
    const again = random.chance(0.1) && sent.length > 0 ? random.pick(sent) : undefined;
    if (again !== undefined && again.about.key !== 'kills') return again;
    const id = String(random.int(1, habits.keys));
    if (habits.hasOrdered && random.chance(0.4)) return ordered(id);
    return random.chance(0.5) ? inline(id) : fetched(id);
  };

  return {
    acknowledged,
    sendKiller() {
      const body = '{"serviceId":"inline","id":"k","version":1,"kills":true}';
      send({ key: 'kills', body, about: { key: 'kills', version: '', op: 'upsert' } });
    },
    async run(wantsMore) {
      const mostMessages = habits.messages * 3;
      for (let count = 0; count < habits.messages || (wantsMore() && count < mostMessages); count += 1) {
        const draft = one();
        // The change happens now, its message may come later than that of the next change.
        if (random.chance(0.2)) void clock.sleep(random.between(0, 2_500)).then(() => send(draft));
        else send(draft);
        if (count >= habits.messages) await clock.sleep(random.between(200, 800));
        else if (random.chance(0.5)) await clock.sleep(random.between(0, habits.pauseMs * 2));
      }
      await clock.sleep(3_000);
    },
  };
}

/** Which versions of inline records are deletions: a rule, so that a version means the same whenever it is told. */
function isDeletion(version: number): boolean {
  return version % 6 === 5;
}

function partitionOf(key: string): number {
  return Buffer.from(key).reduce((sum, byte) => sum + byte, 0) % PARTITIONS;
}
