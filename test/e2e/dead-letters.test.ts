import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { LetterList, RedriveReport, Rehearsal } from '../../src/core/dead-letter.ts';
import { aConfig, postChanges, type RunningApp, startApp, type TestConfig } from '../support/app.ts';
import { type CliResult, runCli, startCli } from '../support/cli.ts';
import { finalsOf, lettersLie } from '../support/dead-letters.ts';
import { describeWith } from '../support/needs.ts';
import { startAtTerminal } from '../support/terminal.ts';
import { type HttpSource, startHttpSource } from '../support/servers/http-source.ts';
import { freePort, waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const TOKEN = 'a-token-of-the-test';

describeWith(['redis', 'terminal'], 'dead letters by command and over HTTP', () => {
  const dir = mkdtempSync(join(tmpdir(), 'cachewright-dead-'));
  const keys = uniqueName('dead');
  let source: HttpSource;
  let config: TestConfig;
  let running: RunningApp;
  const cli = (...args: string[]): Promise<CliResult> => runCli(['dead', ...args], { cwd: dir });
  const json = async <T>(...args: string[]): Promise<T> =>
    JSON.parse((await cli(...args, '--json')).stdout) as T;
  const http = (path: string, body?: object, token = TOKEN): Promise<Response> =>
    fetch(`${running.url}/v1/dead-letters${path}`, {
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    });
  const office = () => running.app.parts.deadLetters;
  /** Posts shops whose source is broken, and waits for their letters. */
  const letDie = async (...ids: string[]): Promise<string[]> => {
    for (const id of ids) source.put(id, { error: 'out of order' });
    const body = JSON.stringify(ids.map((id) => ({ serviceId: 'shopInfoService', id })));
    const response = await postChanges(running.url, body, { authorization: `Bearer ${TOKEN}` });
    const { messages } = (await response.json()) as { messages: string[] };
    await lettersLie(office(), ids.length);
    return messages;
  };
  const mend = (...ids: string[]): void => {
    for (const id of ids) source.put(id, { id, version: 7 });
  };

  beforeAll(async () => {
    const [{ url }, port] = await Promise.all([sharedRedis(), freePort()]);
    source = await startHttpSource();
    config = aConfig(url, {
      log: { messages: 'none' },
      http: { port, tokens: [TOKEN] },
      services: {
        shopInfoService: {
          source: { type: 'http', url: `${source.url}/shops/{id}` },
          key: `${keys}:shop:{id}`,
          version: { from: 'record', field: 'version', kind: 'counter' },
          retry: { attempts: 1 },
        },
      },
    });
    writeFileSync(join(dir, 'cachewright.config.json'), JSON.stringify(config));
    running = await startApp(config);
  });
  beforeEach(async () => {
    const all = { by: 'test', reason: 'a fresh start', force: true, limit: 1_000 };
    await office().discard({}, all);
    await lettersLie(office(), 0);
  });
  afterAll(async () => {
    await running.close();
    await source.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('list groups them, show has the bytes, and neither finds what is not there', async () => {
    const [message = ''] = await letDie('1', '2');
    const counts = (...args: string[]) => json<LetterList>('list', ...args).then(({ total }) => total);
    const [list, one, show, nothing, wrong, ...totals] = await Promise.all([
      cli('list'),
      json<LetterList>('list', '--id', '2'),
      cli('show', message),
      cli('show', 'nothing@1'),
      cli('list', '--since', 'yesterday'),
      counts('--since', '1h', '--until', '0s', '--service', 'shopInfoService'),
      counts('--until', '1h'),
    ]);
    expect(list).toMatchObject({ code: 0 });
    expect(list.stdout).toMatch(/2 dead letter\(s\)\n\s+2 {2}shopInfoService\s+E_RECORD_INVALID/);
    expect(list.stdout).toContain(message);
    expect(one).toMatchObject({
      total: 1,
      groups: [{ service: 'shopInfoService', code: 'E_RECORD_INVALID', count: 1 }],
      letters: [{ recordId: '2', redrive: 0, redriving: null, stage: 'fetch' }],
    });
    expect(totals).toEqual([2, 0]);
    expect(show.stdout).toContain('because    E_RECORD_INVALID');
    expect(show.stdout).toContain('value      {"serviceId":"shopInfoService","id":"1"}');
    expect(nothing).toMatchObject({ code: 1, stdout: '' });
    expect(wrong).toMatchObject({ code: 2 });
  });

  it('redrive says first, asks for a reason and for yes, acts, and the trail tells who and why', async () => {
    const [message = ''] = await letDie('3', '4');
    mend('3');
    const chosen = ['--service', 'shopInfoService'];
    const dry = await cli('redrive', ...chosen, '--dry-run');
    expect(dry.code).toBe(3);
    expect(dry.stdout).toMatch(/1 {2}redisCached\n/);
    expect(dry.stdout).toMatch(/1 {2}gaveUp \(the source fails now/);
    expect(dry.stderr).toContain('nothing was written');
    expect(await json<Rehearsal>('redrive', ...chosen, '--dry-run')).toMatchObject({
      selected: 2,
      redriven: 0,
      outcomes: { redisCached: 1, gaveUp: 1 },
    });
    const wrong = await Promise.all([
      cli('redrive', '--reason', 'x', '--yes'),
      cli('redrive', ...chosen, '--yes'),
      cli('redrive', ...chosen, '--reason', 'x'),
    ]);
    for (const result of wrong) expect(result).toMatchObject({ code: 2, stdout: '' });
    await lettersLie(office(), 2);

    mend('4');
    const real = await cli('redrive', ...chosen, '--reason', 'the API is back', '--by', 'ann', '--yes');
    expect(real).toMatchObject({ code: 0 });
    expect(real.stdout).toContain('2 message(s) are in the queue again');
    await lettersLie(office(), 0);
    const trail = await waitFor(
      async () => {
        const { stdout } = await runCli(['trail', '--message', message], { cwd: dir });
        return stdout.includes('ended redisCached') ? stdout : undefined;
      },
      { what: 'the trail of the redrive', timeoutMs: 30_000 },
    );
    expect(trail).toMatch(
      /ended gaveUp[^]*redrive 1[^]*redriven by ann: the API is back[^]*ended redisCached/,
    );
    expect(await cli('redrive', '--all', '--reason', 'again', '--yes')).toMatchObject({
      code: 1,
      stdout: '',
    });
  });

  it('a redrive that is killed half-way goes on when it is asked for again', async () => {
    const ids = Array.from({ length: 40 }, (_, index) => `k${index}`);
    const messages = await letDie(...ids);
    mend(...ids);
    const args = ['redrive', '--all', '--reason', 'mended', '--yes'];
    const started = startCli(['dead', ...args, '--per-second', '10'], { cwd: dir });
    const left = await waitFor(
      async () => {
        const { total } = await office().list({}, 0);
        return total < ids.length ? total : undefined;
      },
      { what: 'the first letters to leave', timeoutMs: 30_000 },
    );
    started.child.kill('SIGKILL');
    expect(left).toBeGreaterThan(0);
    expect((await started.ended).code).toBeNull();
    expect(await cli(...args)).toMatchObject({ code: 0 });
    await lettersLie(office(), 0);
    const ends = await waitFor(
      async () => {
        const ended = await finalsOf(running, 1, 1);
        return messages.every((message) => ended.has(message)) ? ended : undefined;
      },
      { what: 'every message to be on record', timeoutMs: 30_000 },
    );
    expect(messages.filter((message) => ends.get(message)?.state !== 'redisCached')).toEqual([]);
  });

  it('discard counts first, then takes away on record', async () => {
    await letDie('5', '6', '7');
    const dry = await cli('discard', '--all', '--dry-run');
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining('3 dead letter(s)')]);
    await lettersLie(office(), 3);
    expect(await cli('discard', '--id', '5', '--yes')).toMatchObject({ code: 2 });
    const real = await cli('discard', '--id', '5', '--reason', 'a test shop', '--yes', '--json');
    expect(JSON.parse(real.stdout)).toMatchObject({ discarded: 1, selected: 1 });
    await lettersLie(office(), 2);
  });

  it('the same over HTTP, for who has the token', async () => {
    const [message = ''] = await letDie('8', '9');
    for (const path of ['', `/${message}`]) expect((await http(path, undefined, 'wrong')).status).toBe(401);
    for (const path of ['/redrive', '/discard'])
      expect((await http(path, { select: {}, reason: 'x' }, 'wrong')).status).toBe(401);
    expect(await (await http('?service=shopInfoService&limit=1')).json()).toMatchObject({
      total: 2,
      letters: [{ message }],
    });
    expect(await (await http(`/${encodeURIComponent(message)}`)).json()).toMatchObject({
      letters: [{ message, value: '{"serviceId":"shopInfoService","id":"8"}' }],
    });
    const long = await http(`/${'n'.repeat(249)}-0@1`);
    expect([long.status, await long.json()]).toMatchObject([
      404,
      { detail: expect.stringContaining('A dead letter of nnn') },
    ]);
    expect((await http('?since=yesterday')).status).toBe(400);
    for (const body of [
      {},
      { select: {} },
      { select: { idd: '8' }, reason: 'x' },
      { select: {}, reason: ' ' },
    ])
      expect((await http('/redrive', body)).status).toBe(400);

    mend('8');
    const dry = (await (await http('/redrive', { select: {}, dryRun: true })).json()) as Rehearsal;
    expect(dry.outcomes).toEqual({ redisCached: 1, gaveUp: 1 });
    await lettersLie(office(), 2);
    const some = await http('/redrive', { select: { id: '8' }, reason: 'mended', by: 'bob' });
    expect((await some.json()) as RedriveReport).toMatchObject({ selected: 1, redriven: 1 });
    await lettersLie(office(), 1);
    const rest = await http('/discard', { select: { code: 'E_RECORD_INVALID' }, reason: 'enough' });
    expect(await rest.json()).toMatchObject({ discarded: 1 });
    await lettersLie(office(), 0);
  });

  it('the commands by the address of an instance', async () => {
    const [message = ''] = await letDie('11', '12', '13');
    mend('11', '12');
    const at = ['--url', running.url];
    const [list, show, dry, wrong, away] = await Promise.all([
      json<LetterList>('list', '--since', '1h', '--limit', '1', ...at),
      cli('show', message, ...at),
      cli('redrive', '--all', '--dry-run', ...at),
      cli('redrive', '--all', '--reason', 'r'.repeat(501), '--yes', ...at),
      cli('list', '--url', 'http://127.0.0.1:1'),
    ]);
    expect(list).toMatchObject({ total: 3, letters: [{ message }] });
    expect(show.stdout).toContain('because    E_RECORD_INVALID');
    expect([dry.code, dry.stdout]).toEqual([3, expect.stringContaining('2  redisCached')]);
    expect([wrong.code, away.code]).toEqual([2, 69]);
    const redriven = await cli('redrive', '--id', '11', '--reason', 'mended', '--yes', '--json', ...at);
    expect(JSON.parse(redriven.stdout)).toMatchObject({ selected: 1, redriven: 1, remaining: 0 });
    await lettersLie(office(), 2);
    const discarded = await cli('discard', '--all', '--reason', 'enough', '--yes', '--json', ...at);
    expect(JSON.parse(discarded.stdout)).toMatchObject({ discarded: 2, remaining: 0 });
    await lettersLie(office(), 0);
  });

  it('at a terminal they ask, and only a yes is one', async () => {
    await letDie('20', '21');
    const args = ['dead', 'discard', '--all', '--reason', 'enough'];
    const answered = async (keys: string): Promise<[number | null, string]> => {
      const terminal = startAtTerminal(args, dir);
      const isOver = terminal.ended.then(() => true);
      await waitFor(
        async () =>
          terminal.screen().includes('[y/N]') || (await Promise.race([isOver, Promise.resolve(false)])),
        { what: 'the question', timeoutMs: 60_000 },
      );
      expect(terminal.screen()).toMatch(/2 {2}shopInfoService[\s\S]*Discard 2 dead letter\(s\)\?/);
      terminal.type(keys);
      return [await terminal.ended, terminal.screen()];
    };
    const noes = await Promise.all(['n\r', '\r', 'yesterday\r', '\u0003', '\u0004'].map(answered));
    for (const [code, screen] of noes) {
      expect(screen).toContain('Nothing was done.');
      expect(code).toBe(2);
    }
    await lettersLie(office(), 2);
    const [code, screen] = await answered('Yes\r');
    expect([code, screen]).toEqual([0, expect.stringContaining('2 dead letter(s)')]);
    await lettersLie(office(), 0);
  });

  it('refuses over HTTP with 409 what died as often as is allowed', async () => {
    await letDie('10');
    for (let redrive = 1; redrive <= 5; redrive += 1) {
      await http('/redrive', { select: {}, reason: 'again' });
      await waitFor(async () => (await office().list({}, 1)).letters[0]?.redrive === redrive, {
        what: `the letter of redrive ${redrive}`,
        timeoutMs: 30_000,
      });
      await lettersLie(office(), 1);
    }
    const refused = await http('/redrive', { select: {}, reason: 'again' });
    expect([refused.status, await refused.json()]).toMatchObject([409, { title: 'E_REDRIVE_LIMIT' }]);
    expect(await cli('redrive', '--all', '--reason', 'again', '--yes')).toMatchObject({ code: 2 });
    mend('10');
    expect((await http('/redrive', { select: {}, reason: 'mended', force: true })).status).toBe(200);
    await lettersLie(office(), 0);
  });
});
