/**
 * A thread that watches Redis for messages just sent: it asks for the keys of all that are not visible yet, in one MGET,
 * over and over, with half a millisecond between two looks. It blocks its own thread in between, which a timer cannot do
 * as finely, so the figures are good to about half a millisecond, for every subject alike.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Redis } from 'ioredis';
import { PRODUCT_KEYS, versionOf } from './check.ts';

/** A message to wait for. */
export interface Probe {
  readonly id: number;
  readonly version: number;
  /** `process.hrtime` in milliseconds before the message was handed to the producer. */
  readonly sentMs: number;
}

export type PollerOrder = { readonly probes: readonly Probe[] } | 'report';

/** Answer to `report`, once every probe is visible or the wait was given up. */
export interface PollerReport {
  readonly latenciesMs: readonly number[];
  readonly missing: number;
}

const PAUSE_MS = 0.5;
/** After `report`, how long to wait for what is still on its way. */
const PATIENCE_MS = 20_000;

const { redisUrl }: { redisUrl: string } = workerData;
const redis = new Redis(redisUrl);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const latenciesMs: number[] = [];
let waiting: Probe[] = [];
let reportBy = Number.POSITIVE_INFINITY;

parentPort?.on('message', (order: PollerOrder) => {
  if (order === 'report') reportBy = nowMs() + PATIENCE_MS;
  else waiting.push(...order.probes);
});

while (!isFinished()) {
  if (waiting.length > 0) await look();
  Atomics.wait(sleeper, 0, 0, PAUSE_MS);
  await new Promise(setImmediate); // lets messages in
}
const report: PollerReport = { latenciesMs, missing: waiting.length };
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
parentPort?.postMessage(report);
redis.disconnect();
parentPort?.close();

async function look(): Promise<void> {
  const asked = waiting;
  waiting = [];
  const values = await redis.mget(asked.map(({ id }) => PRODUCT_KEYS.prefix + id));
  const seenMs = nowMs();
  asked.forEach((probe, index) => {
    if (versionOf(values[index]) >= probe.version) latenciesMs.push(seenMs - probe.sentMs);
    else waiting.push(probe);
  });
}

function isFinished(): boolean {
  return reportBy < Number.POSITIVE_INFINITY && (waiting.length === 0 || nowMs() > reportBy);
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
