import type { Cluster, Redis } from 'ioredis';
import { DEAD_LETTER_FORMAT, type Settlement } from '../core/dead-letter.ts';
import type { DeadLetter } from '../core/ports.ts';
import type { QueueKeys } from './bullmq-keys.ts';

/**
 * Our fields in BullMQ's job hash begin with `cw-`: its own (`progress` among them) have meanings of their own.
 *
 * Ends an execution in one step (design: "Closing an execution is one step"). BullMQ's own `updateData` checks that the
 * job exists but not who holds its lock, so a stalled worker could overwrite its successor's data; this script checks. The
 * lock alone does not do: BullMQ's worker takes what comes next with the token it has, so that two executions of a job may
 * have the same one, and a closing that was long under way would undo a later one. `ats` is BullMQ's count of executions
 * that were started.
 *
 * KEYS job, lock, audit outbox, dead-letter outbox · ARGV token, execution, data, number of audit entries, audit
 * entries …, dead letters …, settlement · returns `closed`, `repeated` (this execution had closed: a resent command) or `lost`.
 */
const CLOSE = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'lost' end
local known = redis.call('HMGET', KEYS[1], 'ats', 'cw-closed')
if known[1] ~= ARGV[2] then return 'lost' end
if known[2] == ARGV[2] then return 'repeated' end
redis.call('HSET', KEYS[1], 'data', ARGV[3], 'cw-closed', ARGV[2], 'cw-begun', '0')
local lastAudit = 4 + tonumber(ARGV[4])
for i = 5, lastAudit do redis.call('XADD', KEYS[3], '*', 'e', ARGV[i]) end
for i = lastAudit + 1, #ARGV do redis.call('XADD', KEYS[4], '*', 'e', ARGV[i]) end
return 'closed'
`;

/** Writes a field of a job only while that execution holds its lock. KEYS job, lock · ARGV token, execution, field, value; value '+1' counts up. */
const NOTE = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('HGET', KEYS[1], 'ats') ~= ARGV[2] then return 0 end
if ARGV[4] == '+1' then redis.call('HINCRBY', KEYS[1], ARGV[3], 1) else redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
return 1
`;

/**
 * What an execution leaves in its job for a successor. It carries the execution's number, since a word may outlive the
 * execution after its own, which may have died without one.
 */
export function progressWord(execution: number, worker: string, state: string): string {
  return `${execution} ${worker} ${state}`;
}

/** The word of that very execution, without its number; '' when the word is another's. */
export function progressOf(execution: number, word: string): string {
  const number = `${execution} `;
  return word.startsWith(number) ? word.slice(number.length) : '';
}

/** What earlier executions left in a job. */
export interface Left {
  readonly closed: number;
  readonly begun: number;
  /** Executions after the last that closed which left the job to a newer program. */
  readonly passed: readonly number[];
  /** The last word of any of them, see {@link progressWord}. */
  readonly progress: string;
}

export interface ClosingScript {
  close(closing: {
    readonly job: string;
    readonly token: string;
    readonly execution: number;
    /** JSON of what stays in the job. */
    readonly data: string;
    readonly audit: readonly string[];
    readonly deadLetters: readonly DeadLetter[];
    /** Letters whose redriven runs are final. */
    readonly settled: readonly string[];
  }): Promise<'closed' | 'repeated' | 'lost'>;
  /** Sets a field of the job while the execution holds its lock; `+1` counts it up. */
  note(note: {
    readonly job: string;
    readonly token: string;
    readonly execution: number;
    readonly field: 'progress' | 'begun' | 'passed';
    readonly value: string;
  }): Promise<boolean>;
  /** What earlier executions left in the job. */
  left(job: string): Promise<Left>;
}

interface Scripted {
  cachewrightClose(keys: number, ...args: string[]): Promise<string>;
  cachewrightNote(keys: number, ...args: string[]): Promise<number>;
}

/** Binds the scripts to a connection of the queue's Redis. */
export function createClosingScript(redis: Redis | Cluster, keys: QueueKeys): ClosingScript {
  redis.defineCommand('cachewrightClose', { lua: CLOSE });
  redis.defineCommand('cachewrightNote', { lua: NOTE });
  const scripted = redis as unknown as Scripted;
  return {
    async close({ job, token, execution, data, audit, deadLetters, settled }) {
      const reply = await scripted.cachewrightClose(
        4,
        keys.job(job),
        keys.lock(job),
        keys.auditOutbox,
        keys.deadOutbox,
        token,
        String(execution),
        data,
        String(audit.length),
        ...audit,
        ...deadLetters.map((letter) => JSON.stringify(letter)),
        ...(settled.length > 0 ? [settlementOf(settled)] : []),
      );
      return reply === 'closed' || reply === 'repeated' ? reply : 'lost';
    },
    async note({ job, token, execution, field, value }) {
      const names = [keys.job(job), keys.lock(job)];
      const done = await scripted.cachewrightNote(
        names.length,
        ...names,
        token,
        String(execution),
        `cw-${field}`,
        value,
      );
      return done === 1;
    },
    async left(job) {
      const [closed, begun, passed, progress] = await redis.hmget(
        keys.job(job),
        'cw-closed',
        'cw-begun',
        'cw-passed',
        'cw-progress',
      );
      const lastClosed = Number(closed ?? 0);
      return {
        closed: lastClosed,
        begun: Number(begun ?? 0),
        passed: (passed ?? '')
          .split(' ')
          .map(Number)
          .filter((execution) => execution > lastClosed),
        progress: progress ?? '',
      };
    },
  };
}

function settlementOf(settled: readonly string[]): string {
  return JSON.stringify({ format: DEAD_LETTER_FORMAT, settled } satisfies Settlement);
}
