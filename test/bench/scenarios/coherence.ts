import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connectRedis, waitForRedis } from '../../../src/adapters/redis-connection.ts';
import { createRedisTier } from '../../../src/adapters/redis-tier.ts';
import type { ConfigInput } from '../../../src/config/schema.ts';
import { startProxy } from '../../support/servers/proxy.ts';
import { changeOf } from '../coherent-change.ts';
import { type CoherentProcess, startCoherentProcess } from '../coherent-fleet.ts';
import { GROUP, KEYS, lastVersion, nowMs, PER_SECOND, type Plan, SERVICE } from '../coherent-orders.ts';
import { percentile, type Sample } from '../figures.ts';
import type { BenchRedis, Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';

const PROCESSES = 4;
const GROUP_FOR_COST = 1_000;
/** From the order to write until the first write is due: all processes have the plan by then. */
const NOTICE_MS = 200;

/** How soon a fenced write is right in the local tier of every process, also after a cut, and what the log costs. */
export const coherence: Scenario = {
  name: 'coherence',
  metrics: [
    { name: 'p50', unit: 'ms', better: 'lower', digits: 1 },
    { name: 'p99', unit: 'ms', better: 'lower', digits: 1 },
    { name: 'tiers after a cut', unit: 'ms', better: 'lower' },
    { name: 'reads after a cut', unit: 'ms', better: 'lower' },
    { name: 'log per key', unit: 'µs of Redis', better: 'lower', digits: 2 },
  ],
  bars: [
    { subject: 'cachewright', metric: 'p99', atMost: 50 },
    { subject: 'cachewright', metric: 'tiers after a cut', atMost: 2_000 },
  ],
  async prepare(lab) {
    const seconds = lab.pick({ quick: 4, default: 6, full: 30 });
    const cutSeconds = 10;
    return {
      title: `${PROCESSES} processes hold ${KEYS.toLocaleString('en')} keys; ${PER_SECOND.toLocaleString('en')} changes a second for ${seconds} s; ${PROCESSES - 1} of them cut off from Redis for ${cutSeconds} s while the other writes on`,
      trials: [{ subject: 'cachewright', run: () => measure(lab, seconds, cutSeconds) }],
    };
  },
};

async function measure(lab: Lab, seconds: number, cutSeconds: number): Promise<Sample> {
  const redis = await lab.redis();
  const proxy = await startProxy(redis.port);
  const processes: CoherentProcess[] = [];
  try {
    for (let number = 0; number < PROCESSES; number += 1) {
      const cache = { url: number === 0 ? redis.url : `redis://127.0.0.1:${proxy.port}` };
      processes.push(await startCoherentProcess(configOf(lab, redis, cache)));
    }
    const [writer] = processes;
    if (writer === undefined) throw new Error('there is no process');
    await writer.ask({ kind: 'change', plan: planOf(KEYS / PER_SECOND, 1), mine: 0, of: 1 }, 'changed');
    await Promise.all(processes.map((each) => each.ask({ kind: 'hold' }, 'done')));
    const latenciesMs = await changes(processes, planOf(seconds, 2));
    const after = await cut(processes, planOf(cutSeconds, 1_000), proxy);
    return {
      metrics: {
        p50: percentile(latenciesMs, 50),
        p99: percentile(latenciesMs, 99),
        'tiers after a cut': after.tiersMs,
        'reads after a cut': after.readsMs,
        'log per key': await costOfLog(redis),
      },
    };
  } finally {
    await Promise.all(processes.map((each) => each.stop()));
    await proxy.stop();
    await redis.stop();
  }
}

/** The product's defaults; nothing in a local tier ends by its time to live while the scenario lasts. */
function configOf(lab: Lab, redis: BenchRedis, cache: { readonly url: string }): ConfigInput {
  return {
    roles: ['api'],
    redis: { url: redis.url, cache },
    queue: { prefix: lab.fresh('coherence') },
    http: { port: 0 },
    local: { ttlMs: '10m' },
    services: {
      [SERVICE]: {
        source: { type: 'inline' },
        key: 'product_info_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
      },
    },
  };
}

function planOf(seconds: number, firstVersion: number): Plan {
  return { startMs: nowMs() + NOTICE_MS, groups: (seconds * PER_SECOND) / GROUP, firstVersion };
}

/** Milliseconds from before each write until the last process holds it, one per group. The processes take turns in writing. */
async function changes(processes: readonly CoherentProcess[], plan: Plan): Promise<number[]> {
  const replies = await Promise.all(
    processes.map((each, mine) => each.ask({ kind: 'change', plan, mine, of: processes.length }, 'changed')),
  );
  return Array.from({ length: plan.groups }, (_, group) => {
    const beganMs = replies[group % processes.length]?.beganMs[group] ?? Number.NaN;
    return Math.max(...replies.map(({ seenMs }) => seenMs[group] ?? Number.NaN)) - beganMs;
  });
}

/**
 * Milliseconds from the end of a cut until no process has anything of before it in its local tier, and hears the log;
 * and until a read of every key gives its newest version in all of them.
 */
async function cut(
  [writer, ...others]: readonly CoherentProcess[],
  plan: Plan,
  proxy: { refuse(): void; unblock(): void },
): Promise<{ readonly tiersMs: number; readonly readsMs: number }> {
  if (writer === undefined) throw new Error('there is no process');
  const endMs = nowMs() + (plan.groups * GROUP * 1_000) / PER_SECOND;
  proxy.refuse();
  await writer.ask({ kind: 'change', plan, mine: 0, of: 1 }, 'changed');
  await pause(Math.max(0, endMs - nowMs()));
  for (const other of others) {
    const { state } = await other.ask({ kind: 'state' }, 'state');
    if (state !== 'blind') throw new Error('a process that was cut off did not notice');
  }
  const version = lastVersion(plan);
  const rights = [writer, ...others].map((each) => each.ask({ kind: 'right', version }, 'right'));
  proxy.unblock();
  const backMs = nowMs();
  const replies = await Promise.all(rights);
  return {
    tiersMs: Math.max(...replies.map(({ tierMs }) => tierMs)) - backMs,
    readsMs: Math.max(...replies.map(({ readsMs }) => readsMs)) - backMs,
  };
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
        const writes = Array.from(
          { length: GROUP_FOR_COST },
          (_, index) => changeOf(`cost_${index}`, version).write,
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
