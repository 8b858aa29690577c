import { expect, it } from 'vitest';
import type { AppView } from '../../src/server/app-view.ts';
import { createServer } from '../../src/server/server.ts';
import { silentLog } from '../../src/testing/paths.ts';

const BLIND = 'cachewright; fwd=bypass; detail=blind';

const never = (): Promise<never> => new Promise(() => undefined);

it('a request whose dependency hangs is answered at its deadline, with what to do, and says when it was blind', async () => {
  const app: AppView = {
    instance: 'test',
    nowMs: Date.now,
    live: () => ({ live: true, reason: '' }),
    isBlind: () => true,
    missing: async () => [],
    get: never,
    getMany: never,
    admin: never,
    check: never,
    submit: never,
    durability: never,
    remember: never,
    trail: never,
    fences: { show: never, reset: never },
    deadLetters: { list: never, show: never, rehearse: never, redrive: never, discard: never, close: never },
    redrivePerSecond: 1,
    queues: () => [],
  };
  const options = { host: '127.0.0.1', port: 0, tokens: [], maxBodyBytes: 1_000 };
  const server = await createServer(options, app, silentLog, 50);
  await server.listen();
  for (const path of ['/v1/trail?key=k', '/v1/records/stockService/1', '/v1/fences/stockService/1']) {
    const response = await fetch(`${server.url}${path}`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ title: 'E_REQUEST_TIMEOUT' });
    // What is no read has nothing to do with the local tier.
    expect(response.headers.get('cache-status')).toBe(path.includes('records') ? BLIND : null);
  }
  await server.close();
});
