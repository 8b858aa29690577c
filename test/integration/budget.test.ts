import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Message } from '../../src/core/change.ts';
import { aConfig, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

/** What one chunk may cost Redis, from its enqueue to its row in the audit store. Counted by Redis itself, not timed. */
interface Budget {
  /** Every command, those inside scripts too, without those that come by time whatever is to do ({@link POLLS}). */
  readonly commands: number;
  /** Script calls: BullMQ's (add, take, finish), the fence, the closing. */
  readonly scripts: number;
  /** Reads of a socket by Redis, which are about its round trips: commands sent together are read together. */
  readonly reads: number;
  /** Bytes that Redis reads and writes. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/**
 * The budgets, a little above what was counted on the day they were set (in the comment beside). Who makes a chunk
 * dearer raises them here and says why; who makes it cheaper lowers them. docs/scaling.md computes with them.
 */
const BUDGETS: readonly (Budget & { readonly messages: number; readonly chunks: number })[] = [
  {
    messages: 500, // of 290 bytes, all of known keys: BullMQ's and our own commands as for one, and a STRLEN per key
    chunks: 10,
    commands: 585, // 574
    scripts: 7.5, // 6.7: a chunk that takes long costs a look for another one beside it
    reads: 45, // 20; a large command is read in pieces, as many as the network makes of it
    bytesIn: 230_000, // 222,400: the message in its value, with its fence, and in the closing's audit row; its job packs to nothing
    bytesOut: 56_000, // 52,900: the audit entry to its writer
  },
  {
    messages: 1,
    chunks: 60,
    commands: 68, // 63
    scripts: 5.6, // 5.0: add, take, fence, closing, end
    reads: 13, // 8.2
    bytesIn: 5_400, // 5,020, of which BullMQ's names of keys and options are most
    bytesOut: 2_450, // 2,310
  },
];

/** Of these the cheapest counts: a busy machine adds looks for jobs, and never takes one away. */
const ROUNDS = 3;

/** Commands that come by time: both outboxes are looked into, instances say that they live. */
const POLLS: ReadonlySet<string> = new Set(['xrange', 'xlen', 'info', 'quit', 'zremrangebyscore', 'ping']);

describeWith(['redis'], 'what a chunk costs Redis', () => {
  let redis: RedisServer;
  let running: RunningApp;
  let position = 0;

  beforeAll(async () => {
    redis = await startRedis();
    // Defaults as shipped.
    running = await startApp(aConfig(redis.url, { roles: ['worker'] }));
  });
  afterAll(async () => {
    await running.close();
    await redis.stop();
  });

  /** Messages of 290 bytes for as many keys, each newer than the last one of its key. */
  function chunkOf(messages: number): Message[] {
    return Array.from({ length: messages }, (_, id) => {
      position += 1;
      const record = { serviceId: 'stockService', id, version: position, name: '' };
      const name = 'x'.repeat(290 - JSON.stringify(record).length);
      return {
        origin: { stream: 'orders-0', epoch: 0, position: String(position) },
        timestampMs: 1_769_853_600_000,
        key: null,
        value: JSON.stringify({ ...record, name }),
        headers: [],
      };
    });
  }

  /** Sends chunks one after the other, each when the one before has closed, and waits for the audit. */
  async function work(chunks: number, messages: number): Promise<void> {
    const { submit, audit } = running.app.parts;
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      const wanted = running.finalCount() + messages;
      await submit(chunkOf(messages), { idPrefix: 'budget' });
      await waitFor(() => running.finalCount() >= wanted, {
        what: 'the chunk to close',
        timeoutMs: 30_000,
        everyMs: 1,
      });
    }
    expect(await audit.flush(30_000)).toBe(true);
  }

  async function counted(): Promise<Budget> {
    const info = (await redis.ask('INFO all')).split('\r\n');
    const figure = (name: string): number =>
      Number(info.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1));
    let [commands, scripts] = [0, 0];
    for (const line of info) {
      const [, name = '', calls] = /^cmdstat_([^:]+):calls=(\d+)/.exec(line) ?? [];
      if (!POLLS.has(name)) commands += Number(calls ?? 0);
      if (name === 'eval' || name === 'evalsha') scripts += Number(calls ?? 0);
    }
    return {
      commands,
      scripts,
      reads: figure('total_reads_processed'),
      bytesIn: figure('total_net_input_bytes'),
      bytesOut: figure('total_net_output_bytes'),
    };
  }

  it.each(BUDGETS)(
    'stays within its budget: $messages message(s)',
    async ({ messages, chunks, ...budget }) => {
      await work(1, messages); // makes the keys known, and the scripts
      const rounds: Budget[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const before = await counted();
        await work(chunks, messages);
        const after = await counted();
        rounds.push(perChunk(before, after, chunks));
      }
      const cost = (name: keyof Budget): number => Math.min(...rounds.map((round) => round[name]));
      const costs = Object.fromEntries(Object.keys(budget).map((name) => [name, cost(name as keyof Budget)]));
      const over = Object.entries(budget).filter(([name, most]) => (costs[name] ?? Infinity) > most);
      expect(over, `per chunk of ${messages}: ${JSON.stringify(costs)}`).toEqual([]);
      expect(cost('scripts')).toBeGreaterThanOrEqual(3); // something was counted: add, take and finish at least
    },
  );
});

function perChunk(before: Budget, after: Budget, chunks: number): Budget {
  const cost = (name: keyof Budget): number => (after[name] - before[name]) / chunks;
  return {
    commands: cost('commands'),
    scripts: cost('scripts'),
    reads: cost('reads'),
    bytesIn: cost('bytesIn'),
    bytesOut: cost('bytesOut'),
  };
}
