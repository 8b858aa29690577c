import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/core/trail.ts';
import { aConfig, type Books, openBooks, startApp, type TestConfig } from '../support/app.ts';
import { type CliProcess, runCli, startCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

/** Jobs that a worker has in hand; warming puts half of them into the queue, and the one that it had in hand itself. */
const CONCURRENCY = 8;
const ROOM = (CONCURRENCY / 2 + 1) * 100;
const IDS = 800;

describeWith(['redis'], 'warming many records', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cachewright-warm-'));
  const name = uniqueName('warm');
  let source: HttpSource;
  let config: TestConfig;
  let books: Books;
  const warm = (): CliProcess =>
    startCli(['warm', 'shopInfoService', '--ids', 'ids.txt', '--per-second', '5000', '--json'], { cwd: dir });
  const untilJobs = (count: number): Promise<unknown> =>
    waitFor(async () => (await books.openJobs()) >= count, {
      what: `${count} jobs in the queue`,
      timeoutMs: 60_000,
    });

  beforeAll(async () => {
    source = await startHttpSource();
    const ids = Array.from({ length: IDS }, (_, index) => String(index + 1));
    for (const id of [...ids, 'live']) source.put(id, { id, version: 1 });
    writeFileSync(join(dir, 'ids.txt'), ids.join('\n'));
    const { url } = await sharedRedis();
    config = aConfig(url, {
      roles: ['worker'],
      queue: { concurrency: CONCURRENCY },
      services: {
        shopInfoService: {
          source: { type: 'http', url: `${source.url}/shops/{id}` },
          key: `${name}:shop:{id}`,
          version: { from: 'record', field: 'version', kind: 'counter' },
        },
      },
    });
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    books = openBooks(config);
  });
  afterAll(async () => {
    await books.close();
    await source.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('leaves room for live changes, and goes on after an interrupt where it stopped', async () => {
    const first = warm();
    await untilJobs(ROOM / 100);
    first.child.kill('SIGINT');
    const interrupted = await first.ended;
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toContain('the same command goes on from here');
    expect(JSON.parse(interrupted.stdout)).toMatchObject({ end: 'interrupted', messages: ROOM, ids: IDS });

    // Nobody works yet: all that a worker takes up first is what is in the queue now.
    await runCli(['refresh', 'shopInfoService', 'live'], { cwd: dir });
    expect(await books.openJobs()).toBeLessThanOrEqual(CONCURRENCY);
    const rest = warm();
    const app = await startApp(config);
    try {
      expect(JSON.parse((await rest.ended).stdout)).toMatchObject({
        end: 'done',
        messages: IDS - ROOM,
        isResumed: true,
        skippedTo: ROOM,
      });
      const rows = await books.finals(IDS + 1);
      expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['redisCached']));
      expect(rows).toHaveLength(IDS + 1);
      const live = rows.find(({ recordId }) => recordId === 'live');
      const later = rows.filter((row) => isWarmed(row) && Number(row.message.split('@')[1]) > ROOM + 100);
      expect(live?.startedMs).toBeLessThan(Math.min(...later.map(({ startedMs }) => startedMs)));
    } finally {
      await app.close();
    }
  });
});

function isWarmed({ message }: AuditRecord): boolean {
  return message.startsWith('warm:');
}
