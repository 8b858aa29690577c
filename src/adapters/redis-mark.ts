import type { Log, Mark, MarkName, MarkStore } from '../core/ports.ts';
import { queueKeys } from './bullmq-keys.ts';
import type { RedisClient } from './redis-connection.ts';
import {
  leftTextOf,
  markFieldOf,
  markKeyOf,
  type MarkText,
  markTextOf,
  movesFieldOf,
  readMarkText,
} from './redis-mark-text.ts';
import { type RedisReturns, watchReturns } from './redis-returns.ts';
import { compileScript } from './redis-script.ts';

/**
 * Compare and set. KEYS the stream's hash, then the jobs that must be there · ARGV field of the cluster, text it must have
 * ('' none), text it gets, cluster id, epoch. A resent command finds its own text and is answered 1. The newest epoch never
 * goes back: a zombie of an earlier cluster moves its own mark only. Returns 1 moved, 0 another moved it, -1 a job is missing.
 */
const MOVE = `
if #KEYS > 1 and redis.call('EXISTS', unpack(KEYS, 2)) < #KEYS - 1 then return -1 end
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored ~= ARGV[3] then
  if stored ~= ARGV[2] then return 0 end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
local newest = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if tonumber(ARGV[5]) > newest then redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'cluster', ARGV[4]) end
return 1
`;

const runMove = compileScript(MOVE);

/**
 * Leaves a shard, or comes to one. KEYS the stream's hash · ARGV fields of mark and moves, moves it gets, text it must have
 * ('' any), text it gets, cluster id, epoch. Whatever was moved as often or oftener stays. Returns 1 done, 0 not.
 */
const PLACE = `
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local moves = stored and tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0') or -1
if moves >= tonumber(ARGV[3]) then return 0 end
if ARGV[4] ~= '' and stored ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[5], ARGV[2], ARGV[3])
local newest = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if tonumber(ARGV[7]) > newest then redis.call('HSET', KEYS[1], 'epoch', ARGV[7], 'cluster', ARGV[6]) end
return 1
`;

/** Whether a job is not finished whose id begins so. KEYS the three lists and three sets of `queueKeys` · ARGV the beginning. */
const UNFINISHED = `
local function has(ids)
  for _, id in ipairs(ids) do
    if string.sub(id, 1, #ARGV[1]) == ARGV[1] then return true end
  end
end
for at = 1, 3 do if has(redis.call('LRANGE', KEYS[at], 0, -1)) then return 1 end end
for at = 4, 6 do if has(redis.call('ZRANGE', KEYS[at], 0, -1)) then return 1 end end
return 0
`;

export interface RedisMarksOptions {
  /** A connection with deadlines (`commandTimeout`, no offline queue): the hand-off repeats what failed. */
  readonly connection: RedisClient;
  /** The queue's hash-tagged prefix, e.g. `{cachewright}`. */
  readonly prefix: string;
  /** BullMQ's name of the queue, for {@link MarkStore.moveBehind}. */
  readonly queue: string;
  /** Tells when the server was away, or is another; stopped by `close`. @defaultValue one that looks every 10 s */
  readonly returns?: RedisReturns;
  readonly log: Log;
}

/** A mark as one shard has it. */
export interface PlacedMark extends MarkText {
  /** How often it left a shard and came to one until it was written here. */
  readonly moves: number;
}

/** The marks of one shard. `settle` has nothing to do: see `createShardMarks` for a queue of several. */
export interface RedisMarks extends MarkStore {
  look(stream: MarkName): Promise<PlacedMark | null>;
  /** Leaves the mark behind as gone to another shard, if it still is what was seen. */
  leave(stream: MarkName, seen: PlacedMark, leftFor: number): Promise<void>;
  /** Takes in a mark that left another shard for this one, unless that has happened. */
  take(stream: MarkName, left: PlacedMark): Promise<void>;
  /** Whether jobs are not finished whose ids begin so. */
  hasUnfinished(idsBegin: string): Promise<boolean>;
  close(): void;
}

/**
 * Marks in the queue's Redis: one hash per group, topic and partition, with a field per Kafka cluster
 * (`cluster:<id>` → JSON of the mark) and the newest epoch over all clusters (`epoch`, `cluster`).
 */
export function createRedisMarks(options: RedisMarksOptions): RedisMarks {
  const { connection, prefix, queue, log } = options;
  const { returns = watchReturns({ connection, log, slots: [`${prefix}:marks`] }) } = options;
  const { job, unfinished } = queueKeys(prefix, queue);
  const moveMark = (
    stream: MarkName,
    from: Mark | null,
    to: Mark,
    jobs: readonly string[],
  ): Promise<unknown> => {
    const keys = [markKeyOf(prefix, stream), ...jobs.map(job)];
    const args = [markTextOf(from), markTextOf(to), stream.clusterId, String(to.epoch)];
    return runMove(connection, keys.length, [...keys, markFieldOf(stream), ...args]);
  };
  const place = async (stream: MarkName, epoch: number, moves: number, must: string, text: string) => {
    const fields = [markFieldOf(stream), movesFieldOf(stream)];
    const args = [String(moves), must, text, stream.clusterId, String(epoch)];
    await connection.eval(PLACE, 1, markKeyOf(prefix, stream), ...fields, ...args);
  };

  return {
    settle: () => Promise.resolve(),
    async read(stream) {
      const text = await connection.hget(markKeyOf(prefix, stream), markFieldOf(stream));
      return text === null ? null : readMarkText(text).mark;
    },
    async look(stream) {
      const fields = [markFieldOf(stream), movesFieldOf(stream)];
      const [text, moves] = await connection.hmget(markKeyOf(prefix, stream), ...fields);
      return text == null ? null : { ...readMarkText(text), moves: Number(moves ?? 0) };
    },
    leave: (stream, { mark, moves }, leftFor) =>
      place(stream, mark.epoch, moves + 1, markTextOf(mark), leftTextOf(mark, leftFor)),
    take: (stream, { mark, moves }) => place(stream, mark.epoch, moves + 1, '', markTextOf(mark)),
    hasUnfinished: async (idsBegin) =>
      (await connection.eval(UNFINISHED, unfinished.length, ...unfinished, idsBegin)) === 1,
    async latest(stream) {
      const [epoch, clusterId] = await connection.hmget(markKeyOf(prefix, stream), 'epoch', 'cluster');
      return epoch == null || clusterId == null ? null : { epoch: Number(epoch), clusterId };
    },
    async move(stream, from, to) {
      return (await moveMark(stream, from, to, [])) === 1;
    },
    async moveBehind(stream, from, to, jobs) {
      const reply = await moveMark(stream, from, to, jobs);
      return reply === 1 ? 'moved' : reply === 0 ? 'elsewhere' : 'early';
    },
    onReturn: (listener) => returns.onReturn(listener),
    close() {
      returns.stop();
      log.debug({}, 'marks closed');
    },
  };
}
