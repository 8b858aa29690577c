import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { LogLines } from '../../examples/demo/log-lines.ts';
import type { Look, TrailRecord } from '../../examples/demo/look.ts';
import { createTour } from '../../examples/demo/travel.ts';
import { describeWith } from '../support/needs.ts';
import { bound } from '../support/servers/bound.ts';
import { waitFor } from '../support/servers/process.ts';

const DEMO = join(import.meta.dirname, '../../examples/demo/demo.ts');
const running = new Set<DemoRun>();

/** The demo as a stranger runs it. */
class DemoRun {
  output = '';
  readonly pid: number;
  readonly exitCode: Promise<number | null>;
  readonly #child;

  constructor(...flags: readonly string[]) {
    this.#child = spawn(...bound(process.execPath, [DEMO, ...flags]));
    this.pid = this.#child.pid ?? 0;
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => void (this.output += part));
    }
    this.exitCode = new Promise((resolve) =>
      this.#child.once('close', (code) => {
        running.delete(this);
        resolve(code);
      }),
    );
    running.add(this);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** What it said; fails at once when the demo has ended without saying it. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const said = await waitFor(() => pattern.exec(this.output) ?? (running.has(this) ? null : 'never'), {
      what: `the demo to say ${pattern.source}`,
      timeoutMs: 100_000,
    });
    if (said === 'never') throw new Error(`the demo ended without saying ${pattern.source}:\n${this.output}`);
    return said;
  }

  /** It ends with 0; else what it printed is the reason. */
  async endsWell(): Promise<void> {
    const code = await this.exitCode;
    if (code !== 0) throw new Error(`the demo ended with ${code}:\n${this.output}`);
  }

  /** Folders it made, and processes that run in one or were started with one, that are still there. */
  leftovers(): string[] {
    const mark = `cachewright-test-${this.pid}-`;
    const folders = [tmpdir(), process.env['CACHEWRIGHT_TEST_DIR'] ?? tmpdir()].flatMap((dir) =>
      readdirSync(dir),
    );
    const processes = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(
        (pid) =>
          `${pid} ${inProc(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))} ${inProc(() => readlinkSync(`/proc/${pid}/cwd`))}`,
      );
    return [...folders, ...processes].filter((entry) => entry.includes(mark));
  }
}

/** Processes end while we look at them. */
function inProc(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

afterEach(async () => {
  for (const demo of running) {
    demo.signal('SIGKILL');
    await demo.exitCode;
  }
});

const JOURNEYS = [
  'redisCached',
  'redisCached',
  'superseded',
  'redisCached',
  'evicted',
  'rejected',
  'redisCached',
  'redisCached',
];

function endsOf(output: string): (string | undefined)[] {
  return [...output.matchAll(/^ {2}[✓✗] (\w+) \S+@\S+, /gm)].map(([, state]) => state);
}

describeWith(['redis', 'kafka'], 'the demo on three Kafka brokers', () => {
  it('shows every journey, ends with 0, and leaves no process and no folder', async () => {
    const demo = new DemoRun('--once');
    await demo.says(/three Kafka brokers/);
    await demo.says(/1 the original/);
    expect(demo.leftovers()).not.toEqual([]); // or the same look afterwards would prove nothing
    await demo.endsWell();
    expect(demo.leftovers()).toEqual([]);
    expect(endsOf(demo.output)).toEqual(JOURNEYS);
    expect(demo.output).toContain('✓ all 8 journeys ended as expected');
    expect(demo.output).toMatch(/localCached → redisCached \(storedInRedis\) {2}message=cache-message-\d@0 /);
    expect(demo.output).toMatch(/ended superseded after .* superseded by cache-message-\d@1/);
    expect(demo.output).toMatch(/ended redisCached after .* · 2 failed attempts/);
    expect(demo.output).not.toContain('\u001b'); // no terminal, no colour
  });
});

describeWith(['redis'], 'the demo without Kafka', () => {
  it('says so, and sends the same messages by HTTP and NDJSON', async () => {
    const demo = new DemoRun('--once', '--no-kafka', '--instances', '2');
    await demo.endsWell();
    expect(demo.output).toContain('HTTP, POST /v1/changes');
    expect(demo.output).toMatch(/instance 2 +[\d.]+ ms +x-cache: local +api/);
    expect(endsOf(demo.output)).toEqual(JOURNEYS);
  });

  it('stays up until Ctrl-C, and is gone without a trace then', async () => {
    const demo = new DemoRun('--no-kafka');
    await demo.says(/Ctrl-C ends it/);
    const [, url = ''] = await demo.says(/(http:\/\/127\.0\.0\.1:\d+)\/queues/);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await fetch(`${url}/queues`)).status).toBe(200);
    expect((await fetch(`${url}/v1/records/productInfoService/200`)).headers.get('x-cache')).toBe('local');
    demo.signal('SIGINT');
    demo.signal('SIGINT'); // npm passes Ctrl-C on to a process that the terminal has told already
    expect(await demo.exitCode).toBe(0);
    expect(demo.leftovers()).toEqual([]);
    await expect(fetch(`${url}/readyz`)).rejects.toThrow('fetch failed');
  });

  it('is gone without a trace when Ctrl-C comes while servers still start', async () => {
    const demo = new DemoRun('--no-kafka');
    await demo.says(/… the service/);
    expect(demo.leftovers()).not.toEqual([]);
    demo.signal('SIGINT');
    expect(await demo.exitCode).toBe(130);
    expect(demo.leftovers()).toEqual([]);
  });
});

describe('a journey of the demo', () => {
  const arrived: TrailRecord = {
    message: 'cache-message-0@0',
    state: 'superseded',
    execution: 1,
    version: 'time:1',
    attempts: 1,
    supersededBy: '',
    dueMs: 0,
    note: '',
    error: null,
  };
  const log: LogLines = { take: () => undefined, show: () => () => undefined, tail: () => '' };
  const look: Look = {
    journey: async () => [arrived],
    redisGet: async () => '{"old":true}',
    served: async () => ({ text: '{"old":true}', tier: 'redis' }),
    deadLetters: async () => 0,
  };

  it('is named with everything that was not as expected', async () => {
    const screen = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const tour = createTour({ sender: { way: 'nothing', send: async () => arrived.message }, look, log });
    await tour.travel({
      title: 'an update',
      look: '',
      key: '1',
      text: '{}',
      ends: 'redisCached',
      value: { service: 's', id: '1', key: 'k_1', text: '{"new":true}' },
    });
    screen.mockRestore();
    expect(tour.problems).toEqual([
      '1 an update: state is "superseded", expected was "redisCached"',
      '1 an update: failed attempts is 1, expected was 0',
      '1 an update: Redis should hold {"new":true}',
      '1 an update: the local tier should hold {"new":true}',
      '1 an update: the redis tier answered, not the local one',
    ]);
  });
});
