import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { COUNTER_KEY, LOG_KEY } from '../../../src/adapters/redis-announcement.ts';
import type { ResyncReason } from '../../../src/core/ports.ts';
import { waitFor } from '../../support/servers/process.ts';
import { coherenceOf, type Instance } from '../fleet.ts';
import type { World } from '../world.ts';
import { type Fault, GOAL_MS, type Struck } from './fault.ts';

/** `redis.commandTimeoutMs` as it is by default. */
const COMMAND_TIMEOUT_MS = 5_000;

const killAndRestart: Fault = {
  name: 'redis-restart',
  what: 'Redis killed with -9 and started again 3 s later',
  goalMs: GOAL_MS,
  async strike({ redis }) {
    const before = await runIdOf(redis);
    await redis.kill();
    await delay(3_000);
    await redis.restart();
    const after = await runIdOf(redis);
    if (before === after) throw new Error('Redis was not started anew');
    return { proof: `run id ${before} became ${after}`, overMs: Date.now() };
  },
};

/** What a restored backup or a failover to a replica that was behind looks like. */
const rollback: Fault = {
  name: 'redis-rollback',
  what: 'Redis killed and started with its append-only file of 2 s before',
  goalMs: GOAL_MS,
  async strike({ redis, look }) {
    const live = join(redis.dir, 'appendonlydir');
    const kept = join(redis.dir, 'kept');
    cpSync(live, kept, { recursive: true });
    const keysThen = Number((await redis.ask('INFO stats')).match(/total_commands_processed:(\d+)/)?.[1]);
    await delay(2_000);
    const commandsNow = Number((await redis.ask('INFO stats')).match(/total_commands_processed:(\d+)/)?.[1]);
    const bytesNow = Number((await redis.ask('INFO persistence')).match(/aof_current_size:(\d+)/)?.[1]);
    const rolledBackMs = Date.now();
    await redis.kill();
    rmSync(live, { recursive: true });
    cpSync(kept, live, { recursive: true });
    await redis.restart();
    const bytesThen = Number((await redis.ask('INFO persistence')).match(/aof_current_size:(\d+)/)?.[1]);
    if (!(bytesThen < bytesNow)) throw new Error(`nothing was rolled back: ${bytesNow} → ${bytesThen} bytes`);
    await waitFor(() => look.status === 'ready', { what: 'the harness to have Redis again' });
    return {
      proof: `${bytesNow - bytesThen} bytes and about ${commandsNow - keysThen} commands were forgotten`,
      overMs: Date.now(),
      rolledBackMs,
    };
  },
};

const full: Fault = {
  name: 'redis-full',
  what: 'maxmemory reached for 4 s, then raised',
  goalMs: GOAL_MS,
  async strike({ redis }) {
    const used = Number((await redis.ask('INFO memory')).match(/used_memory:(\d+)/)?.[1]);
    await redis.ask(`CONFIG SET maxmemory ${Math.max(1, used - 100_000)}`);
    await delay(4_000);
    const refused = await waitFor(
      async () => {
        const errors = await redis.ask('INFO errorstats');
        return Number(errors.match(/errorstat_OOM:count=(\d+)/)?.[1] ?? 0) || undefined;
      },
      { what: 'Redis to refuse a write for want of memory', timeoutMs: 30_000 },
    );
    await redis.ask('CONFIG SET maxmemory 0');
    return { proof: `${refused} commands were refused with OOM`, overMs: Date.now() };
  },
};

/** Commands arrive and are executed; that they were is never learnt. */
const cut: Fault = {
  name: 'redis-replies-lost',
  what: 'connections to Redis cut after execution, before the reply, three times; one of them past the deadline of a command',
  goalMs: GOAL_MS,
  behindProxy: 'all',
  async strike({ redisProxy, random }) {
    if (redisProxy === undefined) throw new Error('there is no proxy');
    const longOne = 1 + random.below(3);
    for (let round = 1; round <= 3; round += 1) {
      const before = redisProxy.droppedBytes();
      redisProxy.dropReplies();
      await waitFor(() => redisProxy.droppedBytes() > before, {
        what: 'a reply to be swallowed',
        timeoutMs: 30_000,
      });
      await delay(round === longOne ? COMMAND_TIMEOUT_MS + 500 : 300);
      redisProxy.unblock();
      await delay(700);
    }
    return { proof: `${redisProxy.droppedBytes()} bytes of replies were swallowed`, overMs: Date.now() };
  },
};

/** Nothing is left: no jobs, no marks, no fences, no values. What Kafka still has is done once more. */
const emptied: Fault = {
  name: 'redis-emptied',
  what: 'Redis killed and started without its data',
  goalMs: GOAL_MS,
  async strike({ redis, look }) {
    const keysBefore = await look.dbsize();
    const rolledBackMs = Date.now();
    await redis.kill();
    rmSync(join(redis.dir, 'appendonlydir'), { recursive: true });
    await redis.restart();
    const size = (await redis.ask('DBSIZE')).match(/^:(\d+)/m)?.[1];
    await waitFor(() => look.status === 'ready', { what: 'the harness to have Redis again' });
    return {
      proof: `${keysBefore} keys became ${size ?? 'none'} or so`,
      overMs: Date.now(),
      rolledBackMs,
    };
  },
};

/** Worse than away: commands time out, are repeated, and both are executed when it goes on. */
const stalled: Fault = {
  name: 'redis-stalled',
  what: 'Redis stopped (SIGSTOP) for 8 s, past the deadline of a command, then continued',
  goalMs: GOAL_MS,
  async strike({ redis }) {
    redis.pause();
    await delay(COMMAND_TIMEOUT_MS + 1_000);
    const isSilent = await redis.ask('PING').then(
      () => false,
      () => true,
    );
    redis.resume();
    if (!isSilent) throw new Error('Redis answered while it was stopped');
    return { proof: 'a PING was not answered within 2 s, after 6 s', overMs: Date.now() };
  },
};

/** A zombie: it holds jobs, partitions and connections, and cannot be reached nor reach anything in Redis. */
const cutOff: Fault = {
  name: 'instance-cut-off',
  what: 'one instance cut off from Redis for 10 s, its connections open and silent',
  goalMs: GOAL_MS,
  behindProxy: 'first',
  async strike({ redisProxy, instances }) {
    if (redisProxy === undefined) throw new Error('there is no proxy');
    redisProxy.block();
    await delay(10_000);
    const dropped = redisProxy.droppedBytes();
    redisProxy.unblock();
    if (dropped === 0) throw new Error('it had nothing to say');
    return { proof: `${dropped} bytes from and to ${instances[0]?.name} were swallowed`, overMs: Date.now() };
  },
};

/** How often the local tiers of all instances were emptied for this reason. */
function resyncsOf({ instances }: World, reason: ResyncReason): number {
  return instances.reduce((sum, instance) => sum + (coherenceOf(instance)?.resyncs[reason] ?? 0), 0);
}

async function untilResynced(
  world: World,
  reason: ResyncReason,
  act: () => Promise<unknown>,
): Promise<Struck> {
  const before = resyncsOf(world, reason);
  // Done again until it was felt: an instance may have read everything just before.
  const times = await waitFor(
    async () => {
      await act();
      await delay(200);
      return resyncsOf(world, reason) - before || undefined;
    },
    { what: `an instance to notice (${reason})`, timeoutMs: 30_000 },
  );
  return { proof: `${times} local tiers were emptied (${reason})`, overMs: Date.now() };
}

/** Entries are gone before they were read, as when an instance was away for longer than the log is long. */
const logTrimmed: Fault = {
  name: 'log-trimmed',
  what: 'the invalidation log trimmed to nothing, again and again, while changes are written',
  goalMs: GOAL_MS,
  strike: (world) => untilResynced(world, 'gap', () => world.look.xtrim(LOG_KEY, 'MAXLEN', 0)),
};

const counterLost: Fault = {
  name: 'log-counter-lost',
  what: 'the counter of the invalidation log deleted',
  goalMs: GOAL_MS,
  strike: (world) => untilResynced(world, 'counter', () => world.look.del(COUNTER_KEY)),
};

/** Its connections open and silent: it has to notice by itself that it hears nothing, while the other one writes. */
const blind: Fault = {
  name: 'instance-blind',
  what: 'one instance cut off from Redis until it is blind and has been read from for 4 s, then connected again',
  goalMs: GOAL_MS,
  behindProxy: 'first',
  async strike({ redisProxy, instances }) {
    if (redisProxy === undefined) throw new Error('there is no proxy');
    redisProxy.block();
    const isBlind = (instance: Instance): boolean => coherenceOf(instance)?.state === 'blind';
    const blinded = await waitFor(() => instances.find(isBlind), {
      what: 'an instance to know that it is blind',
      timeoutMs: 30_000,
    });
    await delay(4_000);
    const stayed = isBlind(blinded);
    redisProxy.unblock();
    const overMs = Date.now();
    if (!stayed) throw new Error('it heard something while it was cut off');
    await waitFor(() => !isBlind(blinded), { what: 'the instance to hear again', timeoutMs: 30_000 });
    const proof = `${blinded.name} was blind, and heard again ${Date.now() - overMs} ms after it could`;
    return { proof, overMs };
  },
};

async function runIdOf(redis: World['redis']): Promise<string> {
  return /run_id:(\w+)/.exec(await redis.ask('INFO server'))?.[1] ?? '';
}

export const redisFaults: readonly Fault[] = [
  killAndRestart,
  rollback,
  emptied,
  stalled,
  full,
  cut,
  cutOff,
  logTrimmed,
  counterLost,
  blind,
];
