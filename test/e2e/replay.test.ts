import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RedisClient } from '../../src/adapters/redis-connection.ts';
import { aConfig, inlineServices, type RunningApp, startApp, type TestConfig } from '../support/app.ts';
import { type CliProcess, type CliResult, startCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { withAdmin } from '../support/servers/kafka-tools.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { sharedKafka, type SharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';

const name = uniqueName('replay');
const key = (id: string): string => `${name}:stock:${id}`;
const noteKey = (id: string): string => `${name}:note:${id}`;
const stock = (id: string, version: number): string =>
  JSON.stringify({ serviceId: 'stockService', id, version });
const remove = (id: string, version?: number): string =>
  JSON.stringify({ serviceId: 'stockService', id, op: 'delete', version });
const note = (id: string, text: string): string => JSON.stringify({ serviceId: 'noteService', id, text });

/** Messages of one partition, among them what a replay could undo: late ones, deletes with and without a version. */
const HISTORY: readonly string[] = [
  stock('plain', 1),
  stock('plain', 2),
  stock('plain', 5),
  stock('plain', 4),
  stock('again', 1),
  remove('again'),
  stock('again', 2),
  stock('gone', 1),
  remove('gone', 3),
  stock('gone', 2),
  stock('vanished', 1),
  remove('vanished'),
  note('n', 'first'),
  note('n', 'second'),
  '{broken',
  note('n', 'third'),
];
const EXPECTED: Readonly<Record<string, string | null>> = {
  [key('plain')]: stock('plain', 5),
  [key('again')]: stock('again', 2),
  [key('gone')]: null,
  [key('vanished')]: null,
  [noteKey('n')]: note('n', 'third'),
};
/** Partition 1 has but one key, with many versions. */
const MANY = 600;

describeWith(['kafka', 'redis'], 'cachewright replay', () => {
  let kafka: SharedKafka;
  let config: TestConfig;
  let app: RunningApp;
  let redis: RedisClient;
  let producer: Awaited<ReturnType<typeof produceTo>>;
  let dir: string;
  let messages = 0;

  const cli = (...args: string[]): CliProcess => startCli(['replay', ...args], { cwd: dir });
  const replay = (...args: string[]): Promise<CliResult> => cli(...args).ended;
  const json = async <T>(...args: string[]): Promise<T> => {
    const { stdout, stderr } = await replay(...args, '--json');
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as T;
  };
  const send = async (partition: number, texts: readonly string[]): Promise<void> => {
    await producer.send(
      name,
      partition,
      texts.map((text) => ({ value: Buffer.from(text) })),
    );
    messages += texts.length;
  };
  const state = async () => {
    const keys = Object.keys(EXPECTED);
    return redis.mget([...keys, ...keys.map((each) => `fence:{${each}}`)]);
  };
  const groupState = async () => ({
    commits: await withAdmin(kafka.brokers, (admin) => admin.fetchOffsets({ groupId: name, topics: [name] })),
    marks: await Promise.all(
      [0, 1].map((partition) => redis.hgetall(`{${config.queue.prefix}}:mark:${name}:${name}:${partition}`)),
    ),
  });
  /** Waits until the commits are noted in the marks: then nothing of live ingest moves by itself any more. */
  const settled = () =>
    waitFor(
      async () => {
        const { commits, marks } = await groupState();
        const wanted = [0, 1].map(
          (partition) => commits[0]?.partitions.find((each) => each.partition === partition)?.offset ?? '',
        );
        const sum = wanted.reduce((total, offset) => total + Number(offset), 0);
        return (
          sum === messages &&
          marks.every((mark, at) => JSON.stringify(mark).includes(`committed\\":\\"${wanted[at]}`))
        );
      },
      { what: 'ingest to have noted its last commits', timeoutMs: 30_000 },
    );
  /** Rows of executions of jobs that a replay enqueued. */
  const replayed = async () => (await app.rows()).filter(({ job }) => /\.r[0-9a-f]{12}$/.test(job));
  const waitForReplayed = (count: number) =>
    waitFor(
      async () => {
        const rows = await replayed();
        return rows.length >= count ? rows : undefined;
      },
      { what: `${count} replayed messages on record`, timeoutMs: 60_000, everyMs: 100 },
    );

  beforeAll(async () => {
    const [shared, { url }] = await Promise.all([sharedKafka(), sharedRedis()]);
    kafka = shared;
    await kafka.createTopic(name, { partitions: 2 });
    dir = privateDir('replay');
    config = aConfig(url, {
      kafka: { brokers: [...kafka.brokers], topics: [name], groupId: name },
      services: {
        stockService: { ...inlineServices.stockService, key: `${name}:stock:{id}` },
        noteService: {
          source: { type: 'inline' },
          key: `${name}:note:{id}`,
          version: { from: 'offset' },
        },
      },
    });
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    app = await startApp(config);
    redis = app.app.parts.connections.cache;
    producer = await produceTo(kafka.brokers);
    await send(0, HISTORY);
    await send(
      1,
      Array.from({ length: MANY }, (_, at) => stock('many', at + 1)),
    );
    await app.finals(messages);
    await settled();
  });
  afterAll(async () => {
    await producer.close();
    await app.close();
  });

  it('enqueues everything again and undoes nothing: values, fences, offsets and marks stay, late ones and deletes hold', async () => {
    const [before, group] = [await state(), await groupState()];
    expect(before.slice(0, 5)).toEqual(Object.values(EXPECTED));
    const { code, stdout } = await replay('--from-beginning', '--yes');
    expect([code, stdout.trim()]).toEqual([0, `${name} ${messages} message(s) enqueued again`]);
    const seen: unknown[] = [];
    const rows = await waitFor(
      async () => {
        seen.push((await state()).slice(0, 5));
        const found = await replayed();
        return found.length >= messages ? found : undefined;
      },
      { what: 'every message to be on record once more', timeoutMs: 60_000 },
    );
    expect(await state()).toEqual(before);
    expect(new Set(seen.map((values) => JSON.stringify(values))).size).toBe(1);
    expect(await groupState()).toEqual(group);
    const ends = Object.groupBy(rows, (row) => row.state);
    // A delete that is the fence's own is done again; what was overtaken is so once more.
    expect(ends['redisCached']?.map(({ key: cached }) => cached).sort()).toEqual(
      [key('plain'), key('again'), key('many'), noteKey('n')].sort(),
    );
    expect(ends['evicted']?.map(({ key: cached }) => cached).sort()).toEqual(
      [key('gone'), key('vanished')].sort(),
    );
    expect(ends['rejected']).toHaveLength(1);
    expect(ends['gaveUp']).toBeUndefined();
    // The same message has the same dead letter.
    expect((await app.deadLetters(1)).size).toBe(1);
  });

  it('brings back what Redis lost, and nothing that was deleted', async () => {
    const keys = Object.keys(EXPECTED);
    const before = await state();
    await redis.del(...keys, ...keys.map((each) => `fence:{${each}}`));
    const rowsBefore = (await replayed()).length;
    expect((await replay('--offsets', '0:0', '--yes', '--rate', '0')).code).toBe(0);
    await waitForReplayed(rowsBefore + HISTORY.length);
    expect(await state()).toEqual(before);
  });

  it('never takes a key back while newer messages flow', async () => {
    const rowsBefore = (await replayed()).length;
    const running = cli('--from-beginning', '--yes', '--rate', '400');
    const versions: number[] = [];
    const over = new AbortController();
    const sample = async (): Promise<void> => {
      while (!over.signal.aborted)
        versions.push(Number(/\d+/.exec((await redis.get(key('many'))) ?? '')?.[0] ?? 0));
    };
    const sampling = sample();
    for (let round = 0; round < 20; round += 1) {
      await send(1, [stock('many', MANY + 2 * round + 2), stock('many', MANY + 2 * round + 1)]);
    }
    expect((await running.ended).code).toBe(0);
    await waitForReplayed(rowsBefore + HISTORY.length + MANY);
    await waitFor(async () => (await redis.get(key('many'))) === stock('many', MANY + 40), {
      what: 'the newest version',
    });
    over.abort();
    await sampling;
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    await settled();
  });

  it('counts without doing anything in a dry run, from a time or from offsets on', async () => {
    const rowsBefore = (await replayed()).length;
    type Plan = { offsets: number; partitions: { partition: number; from: string; end: string }[] };
    const all = await json<Plan>('--from-beginning', '--dry-run');
    const manyEnd = String(MANY + 40);
    expect(all).toMatchObject({
      offsets: messages,
      partitions: [
        { partition: 0, from: '0', end: String(HISTORY.length) },
        { partition: 1, from: '0', end: manyEnd },
      ],
    });
    expect(await json('--since', '1h', '--dry-run')).toMatchObject({ offsets: messages });
    expect(await json('--since', new Date(Date.now() + 60_000).toISOString(), '--dry-run')).toMatchObject({
      offsets: 0,
    });
    expect(await json('--offsets', '1:630', '--dry-run')).toMatchObject({
      offsets: 10,
      partitions: [{ partition: 1, from: '630', end: manyEnd, lost: 0 }],
    });
    expect(await json('--from-beginning', '--partition', '0', '--dry-run')).toMatchObject({
      offsets: HISTORY.length,
    });
    expect((await replay('--from-beginning', '--dry-run')).stdout).toContain(`${name} ${messages} offset(s)`);
    expect(await app.openJobs()).toBe(0);
    expect(await replayed()).toHaveLength(rowsBefore);
  });

  it('goes on where an interrupted one stopped, from what that one printed', async () => {
    const rowsBefore = (await replayed()).length;
    const first = cli('--from-beginning', '--partition', '1', '--yes', '--rate', '100', '--json');
    await waitForReplayed(rowsBefore + 100);
    first.child.kill('SIGINT');
    const { code, stdout, stderr } = await first.ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(/interrupted: --offsets 1:\d+ goes on from here/);
    const file = join(dir, 'offsets.json');
    writeFileSync(file, stdout);
    const report = JSON.parse(stdout) as { messages: number; offsets: Record<string, string> };
    expect(report.offsets).toEqual({ 1: String(report.messages) });
    const rest = await json<{ messages: number; end: string }>('--offsets', file, '--yes', '--rate', '0');
    expect(rest).toMatchObject({ end: 'done', messages: MANY + 40 - report.messages });
    const rows = (await waitForReplayed(rowsBefore + MANY + 40)).slice(rowsBefore);
    expect(new Set(rows.map(({ message }) => message)).size).toBe(MANY + 40);
    // Its consumer group is gone with it.
    const groups = await withAdmin(kafka.brokers, (admin) => admin.listGroups());
    expect(
      groups.groups.map(({ groupId }) => groupId).filter((id) => id.startsWith(`${name}-replay`)),
    ).toEqual([]);
  });

  it('refuses, with a reason, what is not clear or cannot be done', async () => {
    const reason = async (...args: string[]) => {
      const { code, stderr } = await replay(...args);
      return [code, stderr.split('\n')[0]];
    };
    expect(await reason('--yes')).toEqual([
      2,
      'error E_USAGE: Say where it begins: one of --from-beginning, --since and --offsets.',
    ]);
    expect((await reason('--from-beginning'))[0]).toBe(2);
    expect((await replay('--from-beginning')).stderr).toContain('Add --yes to enqueue them');
    expect(await reason('--offsets', '7:0', '--yes')).toEqual([
      2,
      `error E_REPLAY_REFUSED: Partition 7 of topic ${name} cannot be replayed: the topic has no such partition.`,
    ]);
    const other = uniqueName('untaken');
    await kafka.createTopic(other);
    await producer.send(other, 0, [{ value: Buffer.from('{}') }]);
    expect((await reason('--topic', other, '--from-beginning', '--yes'))[1]).toContain(
      'its messages were never taken in',
    );
    expect((await reason('--topic', `${other}-nowhere`, '--from-beginning', '--yes'))[1]).toContain(
      'E_TOPIC_MISSING',
    );
  });
});
