import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { PollerReport, Probe } from './freshness-poller.ts';
import { connectProducer, type Load, toKafka } from './load.ts';

export interface Pace {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly perSecond: number;
  /** Messages sent before anything is measured: the subject compiles its hot code. */
  readonly warmUp: number;
  /** One message in so many is waited for. */
  readonly probeEvery: number;
  readonly redisUrl: string;
}

export interface PaceResult extends PollerReport {
  /** Messages a second that were really sent. */
  readonly sentPerSecond: number;
}

/** Sends the load at a steady pace, every message as soon as it is due, and measures how long each probe takes to Redis. */
export async function sendAtPace(load: Load, pace: Pace): Promise<PaceResult> {
  const poller = new Worker(new URL('freshness-poller.ts', import.meta.url), {
    workerData: { redisUrl: pace.redisUrl },
  });
  const report = reportOf(poller);
  const producer = await connectProducer(pace.brokers);
  const sends = new Set<Promise<unknown>>();
  const failures: unknown[] = [];
  const startMs = performance.now();
  let sent = 0;
  while (sent < load.messages) {
    const due = Math.floor(((performance.now() - startMs) * pace.perSecond) / 1_000) + 1 - sent;
    if (due <= 0) {
      await delay(1);
      continue;
    }
    const until = Math.min(load.messages, sent + due);
    const send = sendSlice(sent, until);
    sends.add(send);
    void send.catch((error: unknown) => failures.push(error)).finally(() => sends.delete(send));
    sent = until;
  }
  await Promise.allSettled(sends);
  const elapsedMs = performance.now() - startMs;
  await producer.disconnect();
  if (failures.length > 0) throw new Error('the producer failed', { cause: failures[0] });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
  poller.postMessage('report');
  return { ...(await report), sentPerSecond: (sent * 1_000) / elapsedMs };

  function sendSlice(from: number, until: number): Promise<unknown> {
    const batch = Array.from({ length: until - from }, (_, offset) => load.at(from + offset));
    const sentMs = Number(process.hrtime.bigint()) / 1e6;
    const probes: Probe[] = batch
      .filter((_, offset) => from + offset >= pace.warmUp && (from + offset) % pace.probeEvery === 0)
      .map(({ id, version }) => ({ id, version, sentMs }));
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    if (probes.length > 0) poller.postMessage({ probes });
    const messages = batch.map((message) => toKafka(message, pace.partitions));
    return producer.send({ topic: pace.topic, messages, acks: -1 });
  }
}

function reportOf(poller: Worker): Promise<PollerReport> {
  return new Promise((resolve, reject) => {
    poller.once('message', resolve);
    poller.once('error', reject);
  });
}
