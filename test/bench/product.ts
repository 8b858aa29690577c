import { execFileSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Child, privateDir, startChild } from '../support/servers/process.ts';
import { childrenAsPipeline } from './children.ts';
import type { Pipeline, PipelineSetup, RunningPipeline } from './pipeline.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What the package's `bin` names. */
const BIN = join(ROOT, 'dist/src/cli/bin.js');

/** Compiles what is measured: what ships is JavaScript, and compiling it on the way costs a start and memory that nobody pays. */
export function buildProduct(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

const PRODUCT_SCHEMA = {
  type: 'object',
  required: ['id', 'name', 'price', 'shopId', 'modifiedTime'],
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    price: { type: 'number', minimum: 0 },
    pictureList: { type: 'string' },
    shopId: { type: 'integer' },
    modifiedTime: { type: 'integer' },
  },
};

/** The inline service of the original, with the version and the schema that a careful team would give it. */
export const INLINE_PRODUCTS = {
  source: { type: 'inline' },
  key: 'product_info_{id}',
  version: { from: 'record', field: 'modifiedTime', kind: 'time' },
  record: PRODUCT_SCHEMA,
};

/** What a trial may ask of the product beyond its defaults. */
export interface ProductOptions {
  /** The name in the results. @defaultValue 'cachewright' */
  readonly name?: string;
  /** Processes of the fleet, all on one audit file. @defaultValue 1 */
  readonly processes?: number;
  /** @defaultValue the inline product service */
  readonly services?: Readonly<Record<string, object>>;
  /** @defaultValue as shipped: one shard */
  readonly queue?: { readonly shards: number };
  /** @defaultValue all */
  readonly roles?: readonly ('ingest' | 'worker' | 'api')[];
  /** False: its writes are not announced to other instances, which only a measurement does. @defaultValue true */
  readonly isAnnounced?: boolean;
}

export interface RunningProduct extends RunningPipeline {
  /** Starts one more process. */
  grow(): void;
  /** Ends the oldest process as a deploy would. */
  shrink(): Promise<void>;
  /** The first column of the first row of a query on the audit file. */
  askAudit(sql: string): number;
}

/** The product as shipped: defaults, schema, metrics, fence and audit on. */
export function product(options: ProductOptions = {}): Pipeline<RunningProduct> {
  const { name = 'cachewright', processes = 1 } = options;
  return {
    name,
    members: processes,
    isFenced: true,
    start(setup) {
      const dir = privateDir('bench-product');
      const children: Child[] = [];
      let started = 0;
      const grow = (): void => void children.push(startProduct(setup, options, dir, (started += 1)));
      for (let index = 0; index < processes; index += 1) grow();
      const audit = createAuditReader(join(dir, AUDIT_FILE));
      const pipeline = childrenAsPipeline(children);
      return {
        ...pipeline,
        grow,
        shrink: async () => children.shift()?.stop(20_000),
        askAudit: (sql) => audit.ask(sql),
        done: () => Promise.resolve(audit.rows()),
        async verify(messages) {
          const rows = audit.ask('select count(*) from audit');
          const distinct = audit.ask('select count(distinct message) from audit');
          // Several processes hand partitions over to each other, and a message may then run twice; one process may not.
          if (distinct === messages && (started > 1 || rows === messages)) return;
          throw new Error(
            `the audit has ${rows} rows of ${distinct} messages; there were ${messages} messages`,
          );
        },
        async stop() {
          audit.close();
          await pipeline.stop();
        },
      };
    },
  };
}

const AUDIT_FILE = 'audit.db';

function startProduct(setup: PipelineSetup, options: ProductOptions, dir: string, number: number): Child {
  const configFile = join(dir, `cachewright-${number}.config.json`);
  writeFileSync(configFile, JSON.stringify(configOf(setup, options)));
  const command =
    options.isAnnounced === false
      ? [join(import.meta.dirname, 'unannounced-child.ts'), configFile]
      : [BIN, 'start', '--config', configFile];
  return startChild({
    name: `cachewright-${number}`,
    command: process.execPath,
    args: command,
    cwd: dir,
    logDir: dir,
  });
}

function configOf(setup: PipelineSetup, options: ProductOptions): Record<string, unknown> {
  return {
    kafka: { brokers: setup.brokers, topics: [setup.topic], groupId: setup.groupId },
    redis: { url: setup.redis.url },
    audit: { url: `sqlite:./${AUDIT_FILE}` },
    http: { host: '127.0.0.1', port: 0 },
    services: options.services ?? { productInfoService: INLINE_PRODUCTS },
    ...(options.roles === undefined ? {} : { roles: options.roles }),
    ...(options.queue === undefined ? {} : { queue: options.queue }),
  };
}

interface AuditReader {
  /** Rows so far; cheap. */
  rows(): number;
  ask(sql: string): number;
  close(): void;
}

/** Looks into the product's SQLite file from outside, while it is written. */
function createAuditReader(file: string): AuditReader {
  let db: DatabaseSync | undefined;
  const ask = (sql: string): number => {
    db ??= new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
    return Number(Object.values(db.prepare(sql).get() ?? {})[0]);
  };
  return {
    rows() {
      // Not there yet, or its tables are just being made.
      if (!existsSync(file) || statSync(file).size === 0) return 0;
      // The view would read every entry at every look: each execution knows the number of its rows.
      return ask('select coalesce(sum(rows), 0) from executions');
    },
    ask,
    close: () => db?.close(),
  };
}
