import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connectRedis, waitForRedis } from '../../../src/adapters/redis-connection.ts';
import { createRedisTier } from '../../../src/adapters/redis-tier.ts';
import type { TierWrite } from '../../../src/core/ports.ts';
import { type CoherentInstance, startInstance } from '../../support/coherent-instance.ts';
import { waitFor } from '../../support/servers/process.ts';
import { startProxy } from '../../support/servers/proxy.ts';
import { percentile, type Sample } from '../figures.ts';
import type { BenchRedis, Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';

const INSTANCES = 4;
const KEYS = 2_000;
const PER_SECOND = 1_000;
/** Changes written together, as a chunk of a busy moment would. */
const GROUP = 10;
const GROUP_FOR_COST = 1_000;

/** How soon a fenced write is right in every local tier, also after a cut, and what the log costs. */
export const coherence: Scenario = {
  name: 'coherence',
  metrics: [
    { name: 'p50', unit: 'ms', better: 'lower', digits: 1 },
    { name: 'p99', unit: 'ms', better: 'lower', digits: 1 },
    { name: 'after a cut', unit: 'ms', better: 'lower' },
    { name: 'log per key', unit: 'µs of Redis', better: 'lower', digits: 2 },
  ],
  bars: [
    { subject: 'cachewright', metric: 'p99', atMost: 50 },
    { subject: 'cachewright', metric: 'after a cut', atMost: 2_000 },
  ],
  async prepare(lab) {
    const seconds = lab.pick({ quick: 4, default: 10, full: 30 });
    const cutMs = lab.pick({ quick: 3_000, default: 10_000, full: 10_000 });
    return {
      title: `${INSTANCES} instances hold ${KEYS.toLocaleString('en')} keys; ${PER_SECOND.toLocaleString('en')} changes a second for ${seconds} s; Redis cut off for ${cutMs / 1_000} s`,
      trials: [{ subject: 'cachewright', run: () => measure(lab, seconds, cutMs) }],
    };
  },
};

async function measure(lab: Lab, seconds: number, cutMs: number): Promise<Sample> {
  const redis = await lab.redis();
  const proxy = await startProxy(redis.port);
  const instances: CoherentInstance[] = [];
  try {
    const logUrl = `redis://127.0.0.1:${proxy.port}`;
    for (let number = 1; number <= INSTANCES; number += 1) {
      instances.push(await startInstance(`instance-${number}`, redis.url, { logUrl, blindMs: 5_000 }));
    }
    const keys = Array.from({ length: KEYS }, (_, index) => `product_info_${index}`);
    await writeGroup(instances[0], keys, 1);
    await holdAll(instances, keys);
    const latenciesMs = await changes(instances, keys, seconds);
    const afterCutMs = await cut(instances, keys, cutMs, proxy);
    return {
      metrics: {
        p50: percentile(latenciesMs, 50),
        p99: percentile(latenciesMs, 99),
        'after a cut': afterCutMs,
        'log per key': await costOfLog(redis),
      },
    };
  } finally {
    for (const instance of instances) await instance.close();
    await proxy.stop();
    await redis.stop();
  }
}

async function holdAll(instances: readonly CoherentInstance[], keys: readonly string[]): Promise<void> {
  for (const instance of instances) {
    // The announcement of the first write may void a fill that began before it.
    const holdsAll = async (): Promise<boolean> => {
      await Promise.all(keys.map((key) => instance.read(key)));
      return keys.every((key) => instance.held(key) !== undefined);
    };
    await waitFor(holdsAll, { what: `${instance.name} to hold every key`, timeoutMs: 30_000 });
  }
}

function upsertOf(key: string, version: number): TierWrite {
  return {
    key,
    op: 'upsert',
    text: `{"key":"${key}","version":${version},"padding":"${'x'.repeat(240)}"}`,
    version: { kind: 'counter', digits: String(version) },
    origin: { stream: 'bench-0', epoch: 0, position: String(version) },
    ttlMs: 0,
    fenceTtlMs: 0,
    seen: undefined,
  };
}

/** As a worker writes: provisional, through the fence, readable. */
async function writeGroup(
  instance: CoherentInstance | undefined,
  keys: readonly string[],
  version: number,
): Promise<void> {
  if (instance === undefined) throw new Error('there is no instance');
  const token = `${instance.name}.${version}.${keys[0]}`;
  const writes = keys.map((key) => upsertOf(key, version));
  const entries = writes.map(({ key, text, origin }) => ({
    key,
    text,
    version: { kind: 'counter', digits: String(version) } as const,
    origin,
    storedMs: Date.now(),
    ttlMs: 600_000,
  }));
  await instance.localTier.stage(entries, token);
  const results = await instance.redisTier.write(writes);
  if (results.some(({ kind }) => kind !== 'set')) throw new Error('a change was not taken');
  instance.localTier.promote(entries, token);
}

const versionIn = (instance: CoherentInstance, key: string): number =>
  Number(instance.localTier.peek(key)?.version.digits ?? 0);

/** Milliseconds from before each write until every instance holds the version, or a newer one. */
async function changes(
  instances: readonly CoherentInstance[],
  keys: readonly string[],
  seconds: number,
): Promise<number[]> {
  const open = new Set<{ readonly key: string; readonly version: number; readonly sinceMs: number }>();
  const latenciesMs: number[] = [];
  const look = (): void => {
    const nowMs = performance.now();
    for (const change of open) {
      if (!instances.every((instance) => versionIn(instance, change.key) >= change.version)) continue;
      open.delete(change);
      latenciesMs.push(nowMs - change.sinceMs);
    }
  };
  const startMs = performance.now();
  const groups = (seconds * PER_SECOND) / GROUP;
  const looking = setInterval(look, 1);
  try {
    for (let group = 0; group < groups; group += 1) {
      const dueMs = startMs + (group * GROUP * 1_000) / PER_SECOND;
      if (dueMs > performance.now()) await pause(dueMs - performance.now());
      const version = 2 + Math.floor((group * GROUP) / KEYS);
      const from = (group * GROUP) % KEYS;
      const changed = keys.slice(from, from + GROUP);
      const sinceMs = performance.now();
      for (const key of changed) open.add({ key, version, sinceMs });
      await writeGroup(instances[group % INSTANCES], changed, version);
    }
    await waitFor(async () => open.size === 0, { what: 'every change to be everywhere', timeoutMs: 30_000 });
  } finally {
    clearInterval(looking);
  }
  return latenciesMs;
}

/** Milliseconds from the end of a cut until no instance serves anything of before it as fresh. */
async function cut(
  instances: readonly CoherentInstance[],
  keys: readonly string[],
  cutMs: number,
  proxy: { refuse(): void; unblock(): void },
): Promise<number> {
  proxy.refuse();
  await writeGroup(instances[0], keys, 1_000_000);
  await pause(cutMs);
  proxy.unblock();
  const sinceMs = performance.now();
  const isRight = (instance: CoherentInstance): boolean =>
    instance.follower.state() === 'fresh' &&
    keys.every((key) => [0, 1_000_000].includes(versionIn(instance, key)));
  await waitFor(async () => instances.every(isRight), {
    what: 'every local tier to be right after the cut',
    timeoutMs: 60_000,
    everyMs: 5,
  });
  return performance.now() - sinceMs;
}

/** Microseconds of Redis' CPU that announcing adds to an updated key: the same groups with and without, in turn. */
async function costOfLog(server: BenchRedis): Promise<number> {
  const redis = connectRedis({
    url: server.url,
    name: 'bench',
    connectTimeoutMs: 5_000,
    commandTimeoutMs: 20_000,
    onError: () => undefined,
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  const tiers = {
    with: createRedisTier({ redis, log: { writer: 'bench', maxKeys: 500_000 } }),
    without: createRedisTier({ redis, log: undefined }),
  };
  const spentUs = { with: [] as number[], without: [] as number[] };
  const onCpuUs = (): number =>
    Number(readFileSync(`/proc/${server.pid}/schedstat`, 'utf8').split(' ')[0]) / 1_000;
  try {
    let version = 2_000_000;
    for (let round = 0; round < 60; round += 1) {
      for (const kind of ['with', 'without'] as const) {
        version += 1;
        const writes = Array.from({ length: GROUP_FOR_COST }, (_, index) =>
          upsertOf(`cost_${index}`, version),
        );
        const beforeUs = onCpuUs();
        await tiers[kind].write(writes);
        if (round > 4) spentUs[kind].push((onCpuUs() - beforeUs) / GROUP_FOR_COST);
      }
    }
  } finally {
    redis.disconnect();
  }
  return percentile(spentUs.with, 50) - percentile(spentUs.without, 50);
}
