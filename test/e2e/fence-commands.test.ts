import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AUDIT_STORE_FORMAT } from '../../src/adapters/sqlite-audit-schema.ts';
import {
  aConfig,
  auditFileOf,
  postChanges,
  type RunningApp,
  startApp,
  type TestConfig,
} from '../support/app.ts';
import { type CliResult, runCli } from '../support/cli.ts';
import { describeWith } from '../support/needs.ts';
import { privateDir, waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['redis'], 'a version rule that has changed', () => {
  const dir = privateDir('fence');
  const keys = uniqueName('fence');
  let config: TestConfig;
  let running: RunningApp;
  const cli = (...args: string[]): Promise<CliResult> => runCli(args, { cwd: dir });
  const stock = (id: number, version: number | string): string =>
    JSON.stringify({ serviceId: 'stockService', id, version });

  async function startWith(kind: 'counter' | 'time'): Promise<void> {
    const version = { from: 'record', field: 'version', kind } as const;
    const services = { stockService: { source: { type: 'inline' }, key: `${keys}_{id}`, version } } as const;
    config = { ...config, services };
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    running = await startApp(config);
  }

  /** Messages are rejected or cached: what the trail of the newest one says. */
  async function send(id: number, version: number | string): Promise<{ state: string; error: string }> {
    const response = await postChanges(running.url, stock(id, version));
    const { messages } = (await response.json()) as { messages: string[] };
    return waitFor(
      async () => {
        const row = (await running.rows()).findLast(({ message }) => message === messages[0]);
        return (
          row && { state: row.state, error: `${row.error?.code ?? ''} ${row.error?.message ?? ''}`.trim() }
        );
      },
      { what: `the message about ${id} to end`, timeoutMs: 30_000 },
    );
  }

  beforeAll(async () => {
    const { url } = await sharedRedis();
    config = aConfig(url);
    await startWith('counter');
    await Promise.all([send(1, 7), send(2, 7)]);
    await running.close();
    await startWith('time');
  });
  afterAll(() => running.close());

  it('is refused with the commands that mend it, shown, and reset on record; then messages are taken again', async () => {
    const refused = await send(1, '2026-01-01T00:00:00Z');
    expect(refused.state).toBe('rejected');
    expect(refused.error).toMatch(
      /^E_VERSION_RULE_CHANGED .*cachewright fence show.*cachewright fence reset/s,
    );

    const shown = await cli('fence', 'show', 'stockService', '1');
    expect(shown.code).toBe(3);
    expect(shown.stdout).toContain(`1|l|c|7|http|0|`);
    expect(shown.stdout).toContain('cachewright fence reset stockService 1 --reason');

    const unexplained = await cli('fence', 'reset', 'stockService', '1');
    expect([unexplained.code, unexplained.stderr]).toEqual([2, expect.stringContaining('--reason')]);
    const reset = await cli('fence', 'reset', 'stockService', '1', '--reason', 'versions are times now');
    expect([reset.code, reset.stdout]).toEqual([0, expect.stringMatching(/^1\|l\|c\|7\|http\|0\|\w+\n$/)]);
    // The value is served on.
    const served = await fetch(`${running.url}/v1/records/stockService/1`);
    expect([served.status, await served.text()]).toEqual([200, stock(1, 7)]);

    expect(await send(1, '2026-01-01T00:00:00Z')).toEqual({ state: 'redisCached', error: '' });
    expect((await cli('fence', 'show', 'stockService', '1')).code).toBe(0);
    const trail = await waitFor(
      async () => {
        const { stdout } = await cli('trail', 'stockService', '1');
        return stdout.includes('fenceReset') ? stdout : undefined;
      },
      { what: 'the reset to be on record', timeoutMs: 30_000 },
    );
    expect(trail).toContain('reset: versions are times now');
  });

  it('can be mended over HTTP too, with a reason', async () => {
    const at = `${running.url}/v1/fences/stockService/2`;
    expect(await (await fetch(at)).json()).toMatchObject({
      state: 'live',
      version: 'counter:7',
      kind: 'time',
      isComparable: false,
    });
    const headers = { 'content-type': 'application/json' };
    const reset = (body: object): Promise<Response> =>
      fetch(`${at}/reset`, { method: 'POST', headers, body: JSON.stringify(body) });
    expect(await (await reset({})).json()).toMatchObject({ title: 'E_REQUEST_INVALID' });
    expect((await reset({ reason: 'versions are times now' })).status).toBe(200);
    expect((await reset({ reason: 'once more' })).status).toBe(404);
    expect(await (await fetch(at)).json()).toMatchObject({
      state: 'none',
      isComparable: true,
      valueBytes: stock(2, 7).length,
    });
    expect(await send(2, '2026-01-01T00:00:00Z')).toEqual({ state: 'redisCached', error: '' });
    const note = await waitFor(
      async () =>
        (await running.rows()).find(({ state, recordId }) => state === 'fenceReset' && recordId === '2')
          ?.note,
      { what: 'the reset to be on record', timeoutMs: 30_000 },
    );
    expect(note).toMatch(/^1\|l\|c\|7\|.* reset: versions are times now$/);
  });

  it('leaves the audit store to the service that writes it, and migrates it when nobody does', async () => {
    const busy = await cli('migrate');
    expect([busy.code, busy.stderr]).toEqual([2, expect.stringContaining('E_AUDIT_BUSY')]);
    await running.close();
    expect(await cli('migrate')).toMatchObject({ code: 0, stderr: expect.stringContaining('nothing to do') });

    const fresh = join(dir, 'fresh.db');
    writeFileSync(join(dir, 'fresh.json'), JSON.stringify({ ...config, audit: { url: `sqlite:${fresh}` } }));
    const migrated = await cli('migrate', '--config', 'fresh.json', '--json');
    expect(JSON.parse(migrated.stdout)).toEqual({ file: fresh, from: 0, to: AUDIT_STORE_FORMAT });

    const newer = new DatabaseSync(auditFileOf(config));
    newer.exec(`pragma user_version = ${AUDIT_STORE_FORMAT + 1}`);
    newer.close();
    const refused = await cli('migrate');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('E_FORMAT_NEWER')]);
  });
});
