import { request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import { aConfig, idsOf, postChanges, type RunningApp, startApp } from '../support/app.ts';
import { describeWith } from '../support/needs.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';

const stock = (id: number): string => JSON.stringify({ serviceId: 'stockService', id, version: 1 });

describeWith(['redis'], 'a request', () => {
  let redis: RedisServer;
  const running: RunningApp[] = [];
  const start = async (http: NonNullable<ConfigInput['http']> = {}): Promise<RunningApp> => {
    const app = await startApp(aConfig(redis.url, { http: { port: 0, ...http } }));
    running.push(app);
    return app;
  };
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    await Promise.all(running.map((each) => each.close()));
    await redis.stop();
  });

  it('that is repeated with its Idempotency-Key gets the same ids and runs once', async () => {
    const running = await start();
    const key = { 'idempotency-key': 'the same' };
    const body = `[${stock(1)},${stock(2)}]`;
    const [one, two] = [await postChanges(running.url, body, key), await postChanges(running.url, body, key)];
    expect([one.status, two.status]).toEqual([202, 202]);
    const ids = await idsOf(one);
    expect(await idsOf(two)).toEqual(ids);
    await running.finals(2);
    const three = await postChanges(running.url, body, key);
    expect(await idsOf(three)).toEqual(ids);
    const other = await postChanges(running.url, stock(3), key);
    expect([other.status, await other.json()]).toMatchObject([422, { title: 'E_IDEMPOTENCY_REUSED' }]);
    const [marker = ''] = await idsOf(await postChanges(running.url, stock(4)));
    const rows = await running.finals(3);
    expect(rows.map(({ message }) => message).sort()).toEqual([...ids, marker].sort());
  });

  it('without tokens must name the loopback: a web page that re-bound its name is refused', async () => {
    const running = await start();
    const { port } = new URL(running.url);
    for (const path of ['/v1/records/stockService/1', '/v1/trail?key=a', '/queues', '/v1/changes']) {
      expect(await statusFor(port, path, 'evil.example')).toBe(401);
      expect(await statusFor(port, path, `localhost.evil.example:${port}`)).toBe(401);
      expect(await statusFor(port, path, `localhost:${port}`)).not.toBe(401);
    }
    expect(await statusFor(port, '/livez', 'evil.example')).toBe(200);
  });

  it('needs a token where there are tokens, but for the health routes', async () => {
    const running = await start({ tokens: ['first-token', 'second-token'] });
    const status = async (path: string, authorization?: string): Promise<number> =>
      (
        await fetch(
          `${running.url}${path}`,
          authorization === undefined ? {} : { headers: { authorization } },
        )
      ).status;
    for (const path of ['/v1/trail?key=a', '/queues', '/queues/api/queues', '/v1/records/stockService/1']) {
      expect([path, await status(path)]).toEqual([path, 401]);
      expect([path, await status(path, 'Bearer first-tokem')]).toEqual([path, 401]);
      expect([path, await status(path, 'first-token')]).toEqual([path, 401]);
      expect([path, await status(path, 'Bearer second-token')]).not.toEqual([path, 401]);
    }
    expect((await postChanges(running.url, stock(1))).status).toBe(401);
    expect((await postChanges(running.url, stock(1), { authorization: 'Bearer first-token' })).status).toBe(
      202,
    );
    expect([await status('/livez'), await status('/readyz')]).toEqual([200, 200]);
  });
});

function statusFor(port: string, path: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.once('error', reject);
    asked.end();
  });
}
