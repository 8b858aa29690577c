import { randomInt } from 'node:crypto';
import { expect, it } from 'vitest';
import { fenceKeyOf } from '../../src/core/fence.ts';
import { checkNewestWins } from '../reliability/newest-wins.ts';
import { describeWith } from '../support/needs.ts';
import { sharedRedis } from '../support/servers/shared.ts';

describeWith(['redis'], 'a random history of changes over three workers', () => {
  it('ends at the newest version: sets, deletes, late and repeated ones, redrives and refills', async () => {
    const { url } = await sharedRedis();
    const seed = randomInt(1, 1_000_000_000);
    console.log(`random seed ${seed}: npm run simulate -- --property 100 --seed ${seed}`);
    await checkNewestWins({ url, cases: 100, seed });
  });

  it('does not, and is found out, when tombstones are dropped', async () => {
    const { url } = await sharedRedis();
    const found = checkNewestWins({
      url,
      cases: 200,
      seed: 1,
      plant: (tier, redis) => ({
        ...tier,
        async write(writes) {
          const results = await tier.write(writes);
          const gone = writes.filter((_, index) => results[index]?.kind === 'evicted');
          if (gone.length > 0) await redis.unlink(...gone.map(({ key }) => fenceKeyOf(key)));
          return results;
        },
      }),
    });
    const error: unknown = await found.catch((thrown: unknown) => thrown);
    expect(String((error as Error).cause)).toContain('wanted the deletion');
  });
});
