/** The product as a whole, for end-to-end tests: in this process, or as a command of its own, on servers of the test. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { openSqliteAuditReader } from '../../src/adapters/sqlite-audit.ts';
import { DEAD_LETTER_QUEUE } from '../../src/adapters/bullmq-dead-letters.ts';
import { type App, createApp } from '../../src/app/app.ts';
import { QUEUE } from '../../src/app/queue-shards.ts';
import { connectRedisForWorker } from '../../src/adapters/redis-connection.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { DeadLetter } from '../../src/core/ports.ts';
import { shardPrefix } from '../../src/core/shards.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import { type CliProcess, type CliResult, startCli } from './cli.ts';
import { rememberingLog } from './ingest.ts';
import { privateDir, waitFor } from './servers/process.ts';
import { uniqueName } from './servers/shared.ts';

/** How long a start may take with its servers up, milliseconds. */
const START_MS = 60_000;

/** States a message ends in. */
export const FINAL: ReadonlySet<string> = new Set([
  'redisCached',
  'evicted',
  'superseded',
  'ignored',
  'rejected',
  'gaveUp',
]);

/** The original's service and one with counters, both inline. */
export const inlineServices = {
  productInfoService: {
    source: { type: 'inline' },
    key: 'product_info_{id}',
    version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
  },
  stockService: {
    source: { type: 'inline' },
    key: 'stock_{id}',
    version: { from: 'record', field: 'version', kind: 'counter' },
  },
} as const satisfies ConfigInput['services'];

/** A configuration whose servers, queue and audit file are known. */
export type TestConfig = ConfigInput & {
  readonly redis: { readonly url: string };
  readonly queue: { readonly prefix: string; readonly shards?: number | undefined };
  readonly audit: { readonly url: string };
};

/** A configuration of its own on shared or private servers: fresh queue, group, audit file and port. */
export function aConfig(redisUrl: string, more: ConfigInput = {}): TestConfig {
  const { kafka } = more;
  return {
    services: inlineServices,
    http: { port: 0 },
    ...more,
    ...(kafka !== undefined && { kafka: { groupId: uniqueName('group'), ...kafka } }),
    redis: { ...more.redis, url: redisUrl },
    queue: { ...more.queue, prefix: uniqueName('app') },
    audit: { ...more.audit, url: more.audit?.url ?? `sqlite:${join(privateDir('audit'), 'audit.db')}` },
  };
}

/** The SQLite file of a configuration. */
export function auditFileOf({ audit }: TestConfig): string {
  return audit.url.slice('sqlite:'.length);
}

/** What can be seen of a run from outside, whoever runs it. */
export interface Books {
  /** Every row on record, oldest first. */
  rows(): Promise<AuditRecord[]>;
  /** Waits until so many messages are on record as final, and returns every row. */
  finals(messages: number, timeoutMs?: number): Promise<AuditRecord[]>;
  /** Waits until so many dead letters lie in their queue, and returns them by message id. */
  deadLetters(count: number): Promise<ReadonlyMap<string, DeadLetter>>;
  /** Jobs of the queue of chunks that are not finished. */
  openJobs(): Promise<number>;
  close(): Promise<void>;
}

/** Reads the audit file and the queues over connections of its own. */
export function openBooks(config: TestConfig): Books {
  const file = auditFileOf(config);
  const connection = connectRedisForWorker({
    url: config.redis.url,
    name: 'test-books',
    connectTimeoutMs: 5_000,
    commandTimeoutMs: 0,
    onError: () => undefined,
  });
  const open = <Data>(name: string): Queue<Data>[] =>
    Array.from({ length: config.queue.shards ?? 1 }, (_, shard) => {
      const queue = new Queue<Data>(name, { connection, prefix: shardPrefix(config.queue.prefix, shard) });
      queue.on('error', () => undefined);
      return queue;
    });
  const letters = open<DeadLetter>(DEAD_LETTER_QUEUE);
  const chunks = open<unknown>(QUEUE);

  const read = async <Result>(
    work: (reader: ReturnType<typeof openSqliteAuditReader>) => Promise<Result>,
  ): Promise<Result> => {
    const reader = openSqliteAuditReader(file);
    try {
      return await work(reader);
    } finally {
      await reader.close();
    }
  };
  const rows = (): Promise<AuditRecord[]> => read((reader) => reader.find({ limit: 10_000_000 }));
  return {
    rows,
    finals: (messages, timeoutMs = 60_000) =>
      waitFor(
        async () => {
          if ((await read((reader) => reader.count())) < messages) return undefined;
          const found = await rows();
          const ended = new Set(found.filter(({ state }) => FINAL.has(state)).map(({ message }) => message));
          return ended.size >= messages ? found : undefined;
        },
        { what: `${messages} messages to be on record as final`, timeoutMs, everyMs: 100 },
      ),
    async deadLetters(count) {
      const found = await waitFor(
        async () => {
          const jobs = (
            await Promise.all(letters.map((queue) => queue.getJobs(['waiting'], 0, -1, true)))
          ).flat();
          return jobs.length >= count ? jobs : undefined;
        },
        { what: `${count} dead letters`, everyMs: 100 },
      );
      return new Map(found.map(({ data }) => [data.message, data]));
    },
    async openJobs() {
      const counts = await Promise.all(
        chunks.map((queue) => queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await Promise.all([...letters, ...chunks].map((queue) => queue.close()));
      connection.disconnect();
    },
  };
}

export interface RunningApp extends Books {
  readonly app: App;
  readonly url: string;
  readonly log: ReturnType<typeof rememberingLog>;
  /** State → messages that closed executions left in it; told long before the books are written. */
  readonly counts: Readonly<Record<string, number>>;
  /** Messages that are final, by {@link counts}. */
  finalCount(): number;
}

/** Starts the product in this process. */
export async function startApp(config: TestConfig): Promise<RunningApp> {
  const log = rememberingLog();
  const app = createApp(resolveConfig({ input: config, env: {} }).config, { log });
  const counts: Record<string, number> = {};
  app.on('chunk', ({ states }) => {
    for (const [state, count] of Object.entries(states)) counts[state] = (counts[state] ?? 0) + count;
  });
  const signal = AbortSignal.timeout(START_MS);
  try {
    await Promise.race([app.start(), once(signal, 'abort').then(() => signal.throwIfAborted())]);
  } catch (error) {
    await app.close(0);
    const lines = log.lines.map((line) => JSON.stringify(line)).join('\n');
    throw new Error(`the app did not start: ${String(error)}; its log:\n${lines}`, { cause: error });
  }
  const books = openBooks(config);
  return {
    app,
    url: app.url,
    log,
    counts,
    finalCount: () =>
      Object.entries(counts).reduce((sum, [state, count]) => sum + (FINAL.has(state) ? count : 0), 0),
    ...books,
    async close() {
      await app.close();
      await books.close();
    },
  };
}

/** `cachewright start` in a process of its own. */
export interface Service {
  readonly process: CliProcess;
  /** Waits until it says that it is ready, and returns its address. */
  ready(timeoutMs?: number): Promise<string>;
  /** Waits for words on its stderr. */
  says(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  signal(signal: NodeJS.Signals): void;
  /** Its end, by itself or by -9. */
  kill(): Promise<CliResult>;
}

class OverError extends Error {}

/** Starts the command; the configuration is written as JSON, whatever it holds, or as the text it is. */
export function startService(config: unknown, args: readonly string[] = []): Service {
  const file = join(privateDir('config'), 'cachewright.config.json');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  const started = startCli(['start', '--config', file, '--json', ...args], { cwd: join(file, '..') });
  let isOver = false;
  void started.ended.then(() => (isOver = true));
  const wait = (look: () => RegExpExecArray | null, what: string, timeoutMs = 30_000) => {
    const orOver = (): RegExpExecArray | null => {
      const found = look();
      if (found === null && isOver) throw new OverError(`the service ended before ${what}`);
      return found;
    };
    const giveUpOn = (error: unknown): boolean => error instanceof OverError;
    return waitFor(orOver, { what, timeoutMs, giveUpOn }).catch((error: unknown) => {
      throw new Error(`${String(error)}:\n${started.stderr()}`, { cause: error });
    });
  };
  const signal = (name: NodeJS.Signals): void => void (isOver || started.child.kill(name));
  return {
    process: started,
    async ready(timeoutMs) {
      const line = await wait(
        () => /^\{"ready":true.*$/m.exec(started.stdout()),
        'the service to be ready',
        timeoutMs,
      );
      return (JSON.parse(line[0]) as { url: string }).url;
    },
    says: (pattern, timeoutMs) =>
      wait(() => pattern.exec(started.stderr()), `it to say ${pattern}`, timeoutMs),
    signal,
    kill() {
      signal('SIGKILL');
      return started.ended;
    },
  };
}

/** `POST /v1/changes`, as JSON unless the headers say otherwise. */
export function postChanges(
  url: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const all = { 'content-type': 'application/json', ...headers };
  return fetch(`${url}/v1/changes`, { method: 'POST', headers: all, body });
}

/** The message ids that a request was answered with. */
export async function idsOf(response: Response): Promise<string[]> {
  return ((await response.json()) as { messages: string[] }).messages;
}
