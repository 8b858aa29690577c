import { fail } from '../core/errors.ts';
import type { Log, Mark, MarkName, MarkStore } from '../core/ports.ts';
import { type RedisClient, redisReason } from './redis-connection.ts';
import { compileScript } from './redis-script.ts';

/** Bumped when the text of a mark changes. */
export const MARK_FORMAT = 1;

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

/** The id a server gave itself at its start, asked in the slot of the marks so that a Redis Cluster answers for the right node. */
const RUN_ID = `
redis.call('EXISTS', KEYS[1])
return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
`;

export interface RedisMarksOptions {
  /** A connection with deadlines (`commandTimeout`, no offline queue): the hand-off repeats what failed. */
  readonly connection: RedisClient;
  /** The queue's hash-tagged prefix, e.g. `{cachewright}`. */
  readonly prefix: string;
  /** BullMQ's name of the queue, for {@link MarkStore.moveBehind}. */
  readonly queue: string;
  /** How often to ask for the server's run id, milliseconds: a failover behind one address may keep the connection. @defaultValue 10_000 */
  readonly watchMs?: number;
  readonly log: Log;
}

/**
 * Marks in the queue's Redis: one hash per group, topic and partition, with a field per Kafka cluster
 * (`cluster:<id>` → JSON of the mark) and the newest epoch over all clusters (`epoch`, `cluster`).
 */
export function createRedisMarks(options: RedisMarksOptions): MarkStore & { close(): void } {
  const { connection, prefix, log } = options;
  const watch = watchReturns(options, () => connection.eval(RUN_ID, 1, `${prefix}:marks`));
  const moveMark = (
    stream: MarkName,
    from: Mark | null,
    to: Mark,
    jobs: readonly string[],
  ): Promise<unknown> => {
    const keys = [keyOf(prefix, stream), ...jobs.map((id) => `${prefix}:${options.queue}:${id}`)];
    const args = [from === null ? '' : textOf(from), textOf(to), stream.clusterId, String(to.epoch)];
    return runMove(connection, keys.length, [...keys, fieldOf(stream), ...args]);
  };

  return {
    async read(stream) {
      const text = await connection.hget(keyOf(prefix, stream), fieldOf(stream));
      return text === null ? null : parse(text);
    },
    async latest(stream) {
      const [epoch, clusterId] = await connection.hmget(keyOf(prefix, stream), 'epoch', 'cluster');
      return epoch == null || clusterId == null ? null : { epoch: Number(epoch), clusterId };
    },
    async move(stream, from, to) {
      return (await moveMark(stream, from, to, [])) === 1;
    },
    async moveBehind(stream, from, to, jobs) {
      const reply = await moveMark(stream, from, to, jobs);
      return reply === 1 ? 'moved' : reply === 0 ? 'elsewhere' : 'early';
    },
    onReturn: (listener) => watch.onReturn(listener),
    close() {
      watch.stop();
      log.debug({}, 'marks closed');
    },
  };
}

/** Tells of reconnects and of another run id. */
function watchReturns({ connection, watchMs = 10_000, log }: RedisMarksOptions, ask: () => Promise<unknown>) {
  const listeners = new Set<(reason: string) => void>();
  const tell = (reason: string): void => {
    for (const listener of listeners) listener(reason);
  };
  let isFirst = connection.status !== 'ready';
  let runId = '';
  const onReady = (): void => {
    if (!isFirst) tell('Redis is connected again');
    isFirst = false;
  };
  const compareRunId = async (): Promise<void> => {
    if (connection.status !== 'ready') return;
    try {
      const now = String(await ask());
      if (runId !== '' && now !== runId) tell('Redis was started anew, or another server took over');
      runId = now;
    } catch (error) {
      log.debug({ err: redisReason(error) }, 'the run id of Redis is not known');
    }
  };
  connection.on('ready', onReady);
  const timer = setInterval(() => void compareRunId(), watchMs);
  timer.unref();
  void compareRunId();
  return {
    onReturn(listener: (reason: string) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop(): void {
      clearInterval(timer);
      connection.off('ready', onReady);
      listeners.clear();
    },
  };
}

/** Names are encoded, so that no topic or group can read as another place. */
function keyOf(prefix: string, { groupId, topic, partition }: MarkName): string {
  return `${prefix}:mark:${encodeURIComponent(groupId)}:${encodeURIComponent(topic)}:${partition}`;
}

function fieldOf({ clusterId }: MarkName): string {
  return `cluster:${clusterId}`;
}

/** Always the same text for the same mark: the comparison is by text. */
function textOf({ epoch, enqueued, committed, logId }: Mark): string {
  return JSON.stringify({ format: MARK_FORMAT, epoch, enqueued, committed, logId });
}

function parse(text: string): Mark {
  const mark: unknown = JSON.parse(text);
  if (!isMark(mark))
    throw fail('E_FORMAT_NEWER', { what: 'mark', format: formatOf(mark), known: MARK_FORMAT });
  return { epoch: mark.epoch, enqueued: mark.enqueued, committed: mark.committed, logId: mark.logId };
}

function formatOf(mark: unknown): unknown {
  return typeof mark === 'object' && mark !== null && 'format' in mark ? mark.format : 'none';
}

function isMark(mark: unknown): mark is Mark {
  return formatOf(mark) === MARK_FORMAT;
}
