import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Child, freePort, privateDir, startChild, waitFor } from './process.ts';

export interface RedisOptions {
  readonly port?: number;
  /** Lines of redis.conf, e.g. `maxmemory 20mb`. */
  readonly config?: readonly string[];
  /** Arguments of redis-server, e.g. `['--maxmemory', '20mb']`. */
  readonly args?: readonly string[];
  /** A directory to use instead of a fresh one, e.g. with a copied append-only file. */
  readonly dir?: string;
  /** @defaultValue 'noeviction' */
  readonly policy?: string;
  /** @defaultValue false */
  readonly appendonly?: boolean;
  /** Password of the user `default`. */
  readonly password?: string;
  /** ACL lines without the leading `user`, e.g. `'reader on >secret ~* +@read'`. */
  readonly users?: readonly string[];
}

export interface RedisServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly dir: string;
  /** SIGTERM; the directory and the port stay ours, so that `restart` finds the data. */
  stop(): Promise<void>;
  /** SIGKILL: a crash. */
  kill(): Promise<void>;
  /** Starts again on the same port with the same directory; stops it first if it still runs. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): void;
  resume(): void;
  /** Runs one inline command and returns the raw RESP2 reply, e.g. `+OK\r\n`. */
  ask(command: string): Promise<string>;
}

const HOST = '127.0.0.1';

/** A private redis-server on loopback. Starts in well under 100 ms, so a test file can have its own. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = options.dir ?? privateDir('redis');
  const configFile = join(dir, 'redis.conf');
  writeFileSync(configFile, configOf(options, port, dir));
  const login = options.password === undefined ? [] : [`AUTH ${options.password}`];
  const ask = (command: string): Promise<string> => converse(port, [...login, command]);

  const start = async (): Promise<Child> => {
    const child = startChild({
      name: 'redis',
      command: 'redis-server',
      args: [configFile, ...(options.args ?? [])],
      logDir: dir,
    });
    await child.waitUntil(async () => (await ask('PING')).includes('+PONG'), {
      what: 'Redis to answer',
      timeoutMs: 20_000,
      everyMs: 10,
    });
    return child;
  };
  let child = await start();

  return {
    host: HOST,
    port,
    url: `redis://${options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`}${HOST}:${port}`,
    dir,
    stop: () => child.stop(),
    kill: () => child.kill(),
    async restart() {
      await child.stop();
      child = await start();
    },
    pause: () => child.signal('SIGSTOP'),
    resume: () => child.signal('SIGCONT'),
    ask,
  };
}

export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** `redis+cluster://…` */
  readonly url: string;
  /** Which of the nodes has the slot of this key. */
  ownerOf(key: string): Promise<RedisServer>;
  stop(): Promise<void>;
}

/** Masters only, slots dealt out evenly; returns when every node says the cluster is whole. */
export async function startRedisCluster(
  masters = 3,
  options: Pick<RedisOptions, 'appendonly'> = {},
): Promise<RedisCluster> {
  const busPorts = await Promise.all(Array.from({ length: masters }, freePort));
  const nodes = await Promise.all(
    busPorts.map((busPort) =>
      startRedis({
        ...options,
        config: [
          'cluster-enabled yes',
          `cluster-port ${busPort}`,
          'cluster-config-file nodes.conf',
          'cluster-node-timeout 3000',
        ],
      }),
    ),
  );
  const firstSlot = (index: number): number => Math.floor((index * 16_384) / masters);
  await Promise.all(
    nodes.map((node, index) =>
      expectOk(node, `CLUSTER ADDSLOTSRANGE ${firstSlot(index)} ${firstSlot(index + 1) - 1}`),
    ),
  );
  await Promise.all(nodes.map((node, index) => expectOk(node, `CLUSTER SET-CONFIG-EPOCH ${index + 1}`)));
  for (const [index, node] of nodes.entries()) {
    if (index > 0) await expectOk(nodes[0] ?? node, `CLUSTER MEET ${HOST} ${node.port} ${busPorts[index]}`);
  }
  const isWhole = async (node: RedisServer): Promise<boolean> => {
    const info = await node.ask('CLUSTER INFO');
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${masters}`);
  };
  await waitFor(async () => (await Promise.all(nodes.map(isWhole))).every(Boolean), {
    what: 'the Redis cluster to form',
    timeoutMs: 20_000,
  });
  return {
    nodes,
    hosts: nodes.map(({ host, port }) => ({ host, port })),
    url: `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`,
    async ownerOf(key) {
      const [first] = nodes;
      const slot = Number((await first?.ask(`CLUSTER KEYSLOT ${key}`))?.slice(1));
      const owner = nodes.findLast((_, index) => slot >= firstSlot(index));
      if (owner === undefined) throw new Error(`nobody has slot ${slot}`);
      return owner;
    },
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  };
}

function configOf(options: RedisOptions, port: number, dir: string): string {
  return [
    `port ${port}`,
    `bind ${HOST}`,
    `dir ${dir}`,
    'save ""',
    `appendonly ${options.appendonly === true ? 'yes' : 'no'}`,
    `maxmemory-policy ${options.policy ?? 'noeviction'}`,
    ...(options.password === undefined ? [] : [`requirepass ${options.password}`]),
    ...(options.users ?? []).map((user) => `user ${user}`),
    ...(options.config ?? []),
    '',
  ].join('\n');
}

async function expectOk(node: RedisServer, command: string): Promise<void> {
  const reply = await node.ask(command);
  if (!reply.startsWith('+OK')) throw new Error(`${command} on port ${node.port}: ${reply}`);
}

/** Sends inline commands and returns what comes back after the replies to all but the last, without a driver. */
function converse(port: number, commands: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST);
    let text = '';
    socket.setEncoding('utf8').setTimeout(2_000, () => socket.destroy(new Error('no reply within 2 s')));
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.once('error', reject);
    socket.once('close', () =>
      resolve(text.replace(/\+OK\r\n$/, '').replace(commands.length > 1 ? /^\+OK\r\n/ : '', '')),
    );
    socket.write(`${[...commands, 'QUIT'].join('\r\n')}\r\n`);
  });
}
