/** What `cachewright doctor` looks at, each dependency by itself so that one fault does not hide another. */
import { access, constants } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { openSqliteAuditReader } from '../adapters/sqlite-audit.ts';
import type { Config, SourceConfig } from '../config/schema.ts';
import { CachewrightError, reasonOf } from '../core/errors.ts';
import type { Clock, Log } from '../core/ports.ts';
import { checkKafka } from './doctor-kafka.ts';
import { checkRedis } from './doctor-redis.ts';
import { type Finding, found, guarded, ok, unreachable } from './finding.ts';

/** Looks at everything the configuration names, all at once. */
export async function checkDependencies(config: Config, clock: Clock, log: Log): Promise<readonly Finding[]> {
  const { kafka, redis, services } = config;
  const isOneRedis = redis.cache.url === redis.url;
  const all = await Promise.all([
    kafka === undefined
      ? [ok('kafka', 'no Kafka is configured: changes come by HTTP and `cachewright ingest`')]
      : guarded('kafka', () => checkKafka(kafka, log)),
    guarded('redis', () => checkRedis(config, clock, isOneRedis ? 'both' : 'queue', log)),
    isOneRedis ? [] : guarded('redis cache', () => checkRedis(config, clock, 'cache', log)),
    guarded('audit', () => checkAuditStore(config)),
    ...Object.entries(services).map(([id, { source }]) =>
      guarded(`source ${id}`, () => checkSource(id, source)),
    ),
  ]);
  return all.flat();
}

async function checkAuditStore({ audit }: Config): Promise<readonly Finding[]> {
  const file = audit.url.slice('sqlite:'.length);
  try {
    const rows = await countRows(file);
    return [ok('audit', `${file}: ${rows} row(s)`), ...(await checkWritable(file, file))];
  } catch (thrown) {
    if (!(thrown instanceof CachewrightError) || thrown.code !== 'E_NOT_FOUND') throw thrown;
    const unwritable = await checkWritable(dirname(file), file);
    return unwritable.length > 0 ? unwritable : [ok('audit', `${file} is made at the first start`)];
  }
}

async function countRows(file: string): Promise<number> {
  const reader = openSqliteAuditReader(file);
  try {
    return await reader.count();
  } finally {
    await reader.close();
  }
}

async function checkWritable(path: string, file: string): Promise<readonly Finding[]> {
  try {
    await access(path, constants.W_OK);
    return [];
  } catch (thrown) {
    const next = 'Give this user the right to write there, or set `audit.url` to another place.';
    return [found('audit', `${file} cannot be written: ${reasonOf(thrown)}`, next)];
  }
}

const SOURCE_TIMEOUT_MS = 3_000;
const PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'https:': 443,
  'postgres:': 5432,
  'postgresql:': 5432,
};

/** Whether something listens where the records come from: a fetch could cost the source more than a look should. */
async function checkSource(service: string, source: SourceConfig): Promise<readonly Finding[]> {
  const check = `source ${service}`;
  if (source.type === 'inline') return [ok(check, 'inline: the message carries the record')];
  if (source.type === 'function') return [ok(check, 'a function: not called')];
  const url = new URL(source.url.replaceAll(/[{}]/g, ''));
  const [host, port] = [url.hostname.replace(/^\[|\]$/g, ''), Number(url.port) || PORTS[url.protocol] || 0];
  try {
    await reach(host, port);
    return [ok(check, `${source.type} at ${host}:${port} accepts connections`)];
  } catch (thrown) {
    const text = `${source.type} at ${host}:${port} cannot be reached: ${reasonOf(thrown)}`;
    return [unreachable(check, text, 'Start it, or correct the address of the source.')];
  }
}

function reach(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: SOURCE_TIMEOUT_MS });
    socket
      .once('connect', () => {
        socket.destroy();
        resolve();
      })
      .once('timeout', () => socket.destroy(new Error(`no answer within ${SOURCE_TIMEOUT_MS} ms`)))
      .once('error', reject);
  });
}
