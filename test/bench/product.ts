import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Child, freePort, privateDir, startChild } from '../support/servers/process.ts';
import { childrenAsPipeline } from './children.ts';
import type { Pipeline, PipelineSetup } from './pipeline.ts';

/** The inline service of the original, with the version and the schema a careful team would give it. */
export const INLINE_PRODUCTS = {
  source: { type: 'inline' },
  key: 'product_info_{id}',
  version: { from: 'record', field: 'modifiedTime', kind: 'time' },
  record: 'product.schema.json',
};

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

const ROOT = join(import.meta.dirname, '../..');

/** What a trial may ask of the product beyond its defaults. */
export interface ProductOptions {
  /** The name in the results. @defaultValue 'cachewright' */
  readonly name?: string;
  /** Processes of the fleet, all on one audit file. @defaultValue 1 */
  readonly processes?: number;
  /** @defaultValue the inline product service */
  readonly services?: Readonly<Record<string, object>>;
  /** A part of the roles, e.g. `ingest`. @defaultValue all */
  readonly roles?: string;
}

/** The product as shipped: defaults, schema, metrics, fence and audit on. */
export function product(options: ProductOptions = {}): Pipeline {
  const { name = 'cachewright', processes = 1 } = options;
  return {
    name,
    members: processes,
    isFenced: true,
    start(setup) {
      const dir = privateDir('bench-product');
      const auditFile = join(dir, 'audit.db');
      const children = Array.from({ length: processes }, (_, index) =>
        startProduct(setup, options, dir, auditFile, index),
      );
      const audit = createAuditReader(auditFile);
      return {
        ...childrenAsPipeline(children),
        done: () => Promise.resolve(audit.rows()),
        verify(messages) {
          const { rows, distinct } = audit.exact();
          // Several processes hand partitions over to each other, and a message may then run twice; one process may not.
          const isRight = distinct === messages && (processes > 1 || rows === messages);
          if (isRight) return Promise.resolve();
          return Promise.reject(
            new Error(`the audit has ${rows} rows of ${distinct} messages; there were ${messages} messages`),
          );
        },
        async stop() {
          audit.close();
          await Promise.all(children.map((child) => child.stop(20_000)));
        },
      };
    },
  };
}

function startProduct(
  setup: PipelineSetup,
  options: ProductOptions,
  dir: string,
  auditFile: string,
  index: number,
): Child {
  const configFile = join(dir, `cachewright-${index}.config.json`);
  writeFileSync(configFile, JSON.stringify(configOf(setup, options, dir, auditFile)));
  return startChild({
    name: `bench-cachewright-${index}`,
    command: process.execPath,
    args: [
      join(ROOT, 'src/cli/bin.ts'),
      'start',
      '--config',
      configFile,
      ...(options.roles === undefined ? [] : ['--roles', options.roles]),
    ],
    cwd: dir,
    logDir: dir,
  });
}

function configOf(
  setup: PipelineSetup,
  options: ProductOptions,
  dir: string,
  auditFile: string,
): Record<string, unknown> {
  writeFileSync(join(dir, 'product.schema.json'), JSON.stringify(PRODUCT_SCHEMA));
  return {
    kafka: { brokers: setup.brokers, topics: [setup.topic], groupId: setup.groupId },
    redis: { url: setup.redis.url },
    audit: { url: `sqlite:${auditFile}` },
    http: { host: '127.0.0.1', port: 0 },
    services: options.services ?? { productInfoService: INLINE_PRODUCTS },
  };
}

interface AuditReader {
  /** Rows so far; cheap. */
  rows(): number;
  /** Rows and distinct messages, counted one by one. */
  exact(): { readonly rows: number; readonly distinct: number };
  close(): void;
}

/** Looks into the product's SQLite file from outside, while it is written. */
function createAuditReader(file: string): AuditReader {
  let db: DatabaseSync | undefined;
  const open = (): DatabaseSync => (db ??= new DatabaseSync(file, { readOnly: true, timeout: 5_000 }));
  return {
    rows() {
      // Not there yet, or its tables are just being made.
      if (!existsSync(file) || statSync(file).size === 0) return 0;
      return Number(open().prepare('select coalesce(sum(rows), 0) as n from executions').get()?.['n']);
    },
    exact() {
      const found = open().prepare('select count(*) as n, count(distinct message) as d from audit').get();
      return { rows: Number(found?.['n']), distinct: Number(found?.['d']) };
    },
    close: () => db?.close(),
  };
}
