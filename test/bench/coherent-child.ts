/**
 * One instance of the coherence scenario: the product as shipped, but that what a worker does with a change is done
 * here, by a plan: provisional entry, fence, readable entry.
 *
 *     node test/bench/coherent-child.ts CONFIG
 */
import { setTimeout as pause } from 'node:timers/promises';
import { createApp } from '../../src/app/app.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import { reasonOf } from '../../src/core/errors.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { waitFor } from '../support/servers/process.ts';
import {
  groupOf,
  keyOf,
  KEYS,
  nowMs,
  type Order,
  type Plan,
  type Reply,
  SERVICE,
} from './coherent-orders.ts';
import { changeOf } from './coherent-change.ts';

const input = JSON.parse(process.argv[2] ?? '') as ConfigInput;
const app = createApp(resolveConfig({ input, env: {} }).config, { log: silentLog });
const { localTier, redisTier, coherence, reader, services } = app.parts;
const service = services.get(SERVICE);
if (service === undefined) throw new Error(`there is no ${SERVICE}`);
const ids = Array.from({ length: KEYS }, (_, id) => String(id));

process.on('message', (order: Order) => {
  void obey(order)
    .catch((thrown: unknown): Reply => ({ kind: 'failed', reason: reasonOf(thrown) }))
    .then((reply) => process.send?.(reply));
});
process.once('SIGTERM', () => void app.close(0).then(() => process.exit(0)));
await app.start();
const ready: Reply = { kind: 'done' };
process.send?.(ready);

async function obey(order: Order): Promise<Reply> {
  switch (order.kind) {
    case 'hold':
      await waitFor(async () => (await versionsRead()).every(({ isLocal }) => isLocal), {
        what: 'every key to be a local hit',
        timeoutMs: 30_000,
      });
      return { kind: 'done' };
    case 'change':
      return change(order.plan, order.mine, order.of);
    case 'state':
      return { kind: 'state', state: coherence.state() };
    case 'right':
      return untilRight(order.version);
  }
}

function versionHeld(id: number): number {
  return Number(localTier.peek(keyOf(id))?.version.digits ?? 0);
}

async function versionsRead(): Promise<{ readonly version: number; readonly isLocal: boolean }[]> {
  if (service === undefined) return [];
  const outcomes = await reader.getMany(service, ids);
  return outcomes.map((outcome) =>
    outcome.kind === 'found'
      ? { version: Number(outcome.record.version?.digits ?? 0), isLocal: outcome.record.tier === 'local' }
      : { version: 0, isLocal: false },
  );
}

/** Watches every millisecond: the figures are good to about that. */
async function change(plan: Plan, mine: number, of: number): Promise<Reply> {
  const beganMs: Record<number, number> = {};
  const seenMs: number[] = Array.from({ length: plan.groups }, () => 0);
  const open = new Set(seenMs.keys());
  const look = (): void => {
    const atMs = nowMs();
    for (const group of open) {
      const { ids: changed, version, dueMs } = groupOf(plan, group);
      if (dueMs > atMs) return;
      if (!changed.every((id) => versionHeld(id) >= version)) continue;
      open.delete(group);
      seenMs[group] = atMs;
    }
  };
  const looking = setInterval(look, 1);
  try {
    for (let group = mine; group < plan.groups; group += of) {
      const { ids: changed, version, dueMs } = groupOf(plan, group);
      if (dueMs > nowMs()) await pause(dueMs - nowMs());
      beganMs[group] = nowMs();
      await write(changed, version);
    }
    await waitFor(() => open.size === 0, { what: 'every change to be in the local tier', timeoutMs: 30_000 });
  } finally {
    clearInterval(looking);
  }
  return { kind: 'changed', beganMs, seenMs };
}

async function write(changed: readonly number[], version: number): Promise<void> {
  const token = `bench.${version}.${changed[0]}`;
  const changes = changed.map((id) => changeOf(keyOf(id), version));
  const entries = changes.map(({ entry }) => entry);
  await localTier.stage(entries, token);
  const results = await redisTier.write(changes.map(({ write: each }) => each));
  if (results.some(({ kind }) => kind !== 'set')) throw new Error('a change was not taken');
  localTier.promote(entries, token);
}

async function untilRight(version: number): Promise<Reply> {
  const isRight = (): boolean =>
    coherence.state() === 'fresh' && ids.every((id) => [0, version].includes(versionHeld(Number(id))));
  await waitFor(isRight, { what: 'the local tier to be right', timeoutMs: 60_000, everyMs: 2 });
  const tierMs = nowMs();
  await waitFor(async () => (await versionsRead()).every((read) => read.version === version), {
    what: 'every read to be right',
    timeoutMs: 60_000,
    everyMs: 5,
  });
  return { kind: 'right', tierMs, readsMs: nowMs() };
}
