import { Cluster } from 'ioredis';
import { PRODUCT_KEYS, versionOf } from '../check.ts';
import { drain, type DrainOptions, fillBacklog } from '../drain.ts';
import { type BenchRedis, openRedisCluster } from '../lab.ts';
import { productLoad } from '../load.ts';
import { product, type ProductOptions } from '../product.ts';
import type { Scenario } from '../scenario.ts';

const KEYS = 20_000;
const PARTITIONS = 12;

/**
 * What shards cost, and a cluster: the same backlog through one shard and through three. On a machine whose cores are all busy
 * already nothing can become faster by them.
 */
export const shards: Scenario = {
  name: 'shards',
  isOnDemand: true,
  metrics: [{ name: 'throughput', unit: 'messages/s', better: 'higher' }],
  bars: [{ subject: '3 shards', metric: 'throughput', over: '1 shard', atLeast: 0.85 }],
  async prepare(lab) {
    const messages = lab.pick({ quick: 100_000, default: 200_000, full: 1_000_000 });
    const load = productLoad(messages, KEYS);
    const backlog = await fillBacklog(lab, load, PARTITIONS);
    const stale = (redis: BenchRedis): Promise<number[]> => staleInCluster(redis, load.newest());
    const onCluster: DrainOptions = { openRedis: openRedisCluster, stale };
    const trial = (subject: string, queue: ProductOptions['queue'], options: DrainOptions = {}) => ({
      subject,
      run: () => drain(lab, backlog, product(queue === undefined ? {} : { queue }), options),
    });
    return {
      title: `${messages.toLocaleString('en')} messages over ${PARTITIONS} partitions, 1 process; cluster: three masters on this machine, queue and cache in one`,
      trials: [
        trial('1 shard', undefined),
        trial('3 shards', { shards: 3 }),
        trial('1 shard, cluster', undefined, onCluster),
        // Those of the default prefix lie on one master each.
        trial('3 shards, cluster', { shards: 3 }, onCluster),
      ],
    };
  },
};

/** A key at a time: they are in many slots. */
async function staleInCluster(
  { host, port }: BenchRedis,
  newest: ReadonlyMap<number, number>,
): Promise<number[]> {
  const cluster = new Cluster([{ host, port }]);
  try {
    const texts = await Promise.all([...newest.keys()].map((id) => cluster.get(PRODUCT_KEYS.prefix + id)));
    return [...newest].filter(([, version], index) => versionOf(texts[index]) !== version).map(([id]) => id);
  } finally {
    cluster.disconnect();
  }
}
