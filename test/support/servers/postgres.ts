import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { bound } from './bound.ts';
import { postgresBin } from './debian.ts';
import { freePort, privateDir, startChild } from './process.ts';

export interface PostgresServer {
  readonly host: string;
  readonly port: number;
  /** Of the database `postgres`, as user `postgres`; loopback is trusted, there is no password. */
  readonly url: string;
  /** Makes an empty database, so that test files can share one server, and returns its URL. */
  createDatabase(name: string): Promise<string>;
  stop(): Promise<void>;
  /** SIGKILL of the postmaster. */
  kill(): Promise<void>;
  /** Starts again on the same port with the same data; stops it first if it still runs. */
  restart(): Promise<void>;
}

const HOST = '127.0.0.1';

/** A private Postgres on loopback, without fsync. Up in about two seconds, most of it initdb. */
export async function startPostgres(): Promise<PostgresServer> {
  const bin = postgresBin();
  if (bin === undefined) throw new Error('Postgres is not installed: apt-get install postgresql');
  const port = await freePort();
  const home = privateDir('postgres');
  const data = join(home, 'data');
  // Postgres refuses to run as root; Debian's package brings a user for it.
  const user = process.getuid?.() === 0 ? 'postgres' : undefined;
  if (user !== undefined) run('chown', [user, home]);
  const initArgs = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  run(...bound(join(bin, 'initdb'), initArgs, { user }));
  writeFileSync(join(data, 'postgresql.auto.conf'), configOf(port));

  const urlOf = (database: string): string => `postgres://postgres@${HOST}:${port}/${database}`;
  const start = async (): Promise<ReturnType<typeof startChild>> => {
    const child = startChild({
      name: 'postgres',
      command: join(bin, 'postgres'),
      args: ['-D', data],
      cwd: home,
      logDir: home,
      user,
      lastSignal: 'SIGQUIT',
    });
    await child.waitUntil(() => query(urlOf('postgres'), 'select 1'), {
      what: 'Postgres to answer',
      timeoutMs: 30_000,
    });
    return child;
  };
  let child = await start();
  // SIGINT is Postgres' "fast" shutdown: with SIGTERM it would wait for every client to leave.
  const stop = (): Promise<void> => {
    child.signal('SIGINT');
    return child.stop();
  };

  return {
    host: HOST,
    port,
    url: urlOf('postgres'),
    async createDatabase(name) {
      await query(urlOf('postgres'), `create database "${name.replaceAll('"', '""')}"`);
      return urlOf(name);
    },
    stop,
    kill: () => child.kill(),
    async restart() {
      await stop();
      child = await start();
    },
  };
}

function configOf(port: number): string {
  return [
    `port = ${port}`,
    `listen_addresses = '${HOST}'`,
    `unix_socket_directories = ''`,
    'fsync = off',
    'synchronous_commit = off',
    'full_page_writes = off',
    'max_connections = 60',
    '',
  ].join('\n');
}

async function query(url: string, text: string): Promise<true> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // reported by the pending call as well
  try {
    await client.connect();
    await client.query(text);
    return true;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', cwd: '/' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stderr}`, { cause: error });
}
