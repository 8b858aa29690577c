import { afterEach, expect, it } from 'vitest';
import { connectRedis, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createInstances, type Instances } from '../../src/adapters/redis-instances.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { describeWith } from '../support/needs.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['redis'], 'the register of instances', () => {
  const open: Instances[] = [];
  afterEach(() => Promise.all(open.splice(0).map((instance) => instance.close())));

  it('tells each instance of the others, and no longer of one that has closed', async () => {
    const { url } = await sharedRedis();
    const redis = connectRedis({
      url,
      name: 'test',
      connectTimeoutMs: 2_000,
      commandTimeoutMs: 2_000,
      onError: () => undefined,
    });
    await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
    const prefix = `{${uniqueName('instances')}}`;
    const join = async (name: string): Promise<string[][]> => {
      const heard: string[][] = [];
      const instance = createInstances({ redis, prefix, name, clock: systemClock(), log: silentLog });
      open.push(instance);
      await instance.start((others) => heard.push([...others]));
      return heard;
    };
    expect(await join('a')).toEqual([]);
    expect(await join('b')).toEqual([['a']]);
    await open.shift()?.close();
    expect(await join('c')).toEqual([['b']]);
    redis.disconnect();
  });
});
