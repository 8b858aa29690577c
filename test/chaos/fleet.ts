import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bound } from '../support/servers/bound.ts';
import { leftovers, privateDir } from '../support/servers/leftovers.ts';
import { waitFor } from '../support/servers/process.ts';
import type { Plant } from './plants.ts';
import type { InstanceOrder, LedgerLine, TrapAction, TrapPoint } from './traps.ts';

const ENTRY = fileURLToPath(new URL('./instance.ts', import.meta.url));

/** Loading and starting takes a second on an idle machine. */
const START_MS = 60_000;

export interface InstanceEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly atMs: number;
}

/** A service process of a run, seen from outside. */
export interface Instance {
  /** As audit rows and `x-instance` name it. */
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  /** Undefined while it runs. */
  end(): InstanceEnd | undefined;
  readonly ended: Promise<InstanceEnd>;
  signal(signal: NodeJS.Signals): void;
  order(order: InstanceOrder): void;
  /** What it noted so far; it may be dead. */
  ledger(): LedgerLine[];
  /** What it wrote on stderr: its log. */
  log(): string;
}

export interface InstanceOptions {
  readonly plant?: Plant | undefined;
  /** A command in front of node, e.g. `['faketime', '-f', '+1h']`. */
  readonly before?: readonly string[];
  readonly nodeArgs?: readonly string[];
}

/** Starts one and waits until every role of it does its work. It never outlives this process. */
export async function startInstance(config: object, options: InstanceOptions = {}): Promise<Instance> {
  const { plant = '', before = [], nodeArgs = [] } = options;
  const dir = privateDir('instance');
  const [configFile, ledgerFile, logFile] = ['config.json', 'ledger.ndjson', 'log.ndjson'].map((name) =>
    join(dir, name),
  ) as [string, string, string];
  writeFileSync(configFile, JSON.stringify(config));
  const line = [...before, process.execPath, ...nodeArgs, ENTRY, configFile, ledgerFile, plant];
  const [command, args] = bound(line[0] ?? '', line.slice(1));
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CACHEWRIGHT_'));
  const log = openSync(logFile, 'a');
  const child = spawn(command, args, {
    cwd: dir,
    env: Object.fromEntries(inherited),
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  const pid = child.pid ?? 0;
  const release = leftovers().holdChild(pid, 'SIGKILL');
  const logOf = (): string => readFileSync(logFile, 'utf8');

  let end: InstanceEnd | undefined;
  const ended = new Promise<InstanceEnd>((resolve) => {
    child.once('exit', (code, signal) => {
      release();
      end = { code, signal, atMs: Date.now() };
      resolve(end);
    });
  });
  let told: Ready | undefined;
  child.once('message', (message: Ready) => (told = message));
  child.on('error', () => undefined); // an order to one that is just dying
  const {
    instance,
    url,
    pid: own,
  } = await waitFor(
    () => {
      if (end !== undefined) throw new EndedError(`an instance ended while it started:\n${logOf()}`);
      return told;
    },
    {
      what: 'an instance to be ready',
      timeoutMs: START_MS,
      giveUpOn: (error) => error instanceof EndedError,
    },
  );
  return {
    name: instance,
    url,
    pid: own,
    end: () => end,
    ended,
    // A command in front of it may be its parent, which would die alone.
    signal: (signal) => void (end === undefined && process.kill(own, signal)),
    order: (order) => void (child.connected && child.send(order, () => undefined)),
    ledger: () => ledgerOf(ledgerFile),
    log: logOf,
  };
}

/** What an instance tells when every role of it works. */
interface Ready {
  readonly instance: string;
  readonly url: string;
  readonly pid: number;
}

class EndedError extends Error {
  override readonly name = 'EndedError';
}

/** A line that is being written just now is left for the next look. */
function ledgerOf(file: string): LedgerLine[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1).trimEnd();
  return whole === '' ? [] : whole.split('\n').map((line) => JSON.parse(line) as LedgerLine);
}

/** How its local tier follows the others' writes, as it noted last; undefined: it did not yet. */
export function coherenceOf(instance: Instance): (LedgerLine & { kind: 'coherence' }) | undefined {
  return instance.ledger().findLast((line) => line.kind === 'coherence');
}

/** Sets a trap and waits until the process is in it; returns when that happened, epoch milliseconds. */
export async function springTrap(
  instance: Instance,
  trap: { readonly point: TrapPoint; readonly action: TrapAction; readonly passes: number },
): Promise<number> {
  instance.order({ kind: 'arm', ...trap });
  const { atMs } = await waitFor(() => sprung(instance, trap.point), {
    what: `${instance.name} to be caught at ${trap.point}`,
    timeoutMs: 60_000,
  });
  return atMs;
}

function sprung(instance: Instance, point: TrapPoint): (LedgerLine & { kind: 'sprung' }) | undefined {
  return instance
    .ledger()
    .find((line): line is LedgerLine & { kind: 'sprung' } => line.kind === 'sprung' && line.point === point);
}
