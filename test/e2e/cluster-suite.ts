import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.ts';
import { aConfig, type RunningApp, startApp } from '../support/app.ts';
import { describeWith, type Need } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { type KafkaCluster, type KafkaOptions, startKafka } from '../support/servers/kafka.ts';
import { withAdmin } from '../support/servers/kafka-tools.ts';
import { waitFor } from '../support/servers/process.ts';
import { type RedisServer, startRedis } from '../support/servers/redis.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';

const TOPIC = 'cache-message';
const PARTITIONS = 3;
const MESSAGES = 10_000;
const KEYS = 500;
const BATCH = 100;
/** The broker dies when so many messages are acknowledged. */
const KILL_AT = 4_000;

/** The original's own message, byte for byte. */
const SEED = readFileSync(join(import.meta.dirname, '../../examples/seed/messages.ndjson'), 'utf8').trimEnd();

/**
 * A flow of changes whose versions rise per key, but for every seventh message, which is late: older than two before
 * it. Messages of one key are spread over all partitions, so that nothing but the fence puts them in order.
 */
function flow(): { readonly id: number; readonly version: number; readonly text: string }[] {
  return Array.from({ length: MESSAGES }, (_, index) => {
    const round = Math.floor(index / KEYS);
    const version = index % 7 === 3 && round >= 3 ? (round - 3) * 10 + 5 : round * 10;
    const id = (index * 37) % KEYS;
    return { id, version, text: `{"serviceId":"stockService","id":${id},"version":${version},"n":${index}}` };
  });
}

export interface ClusterKind {
  readonly name: string;
  readonly need: Need;
  readonly kafka: KafkaOptions;
  /** How the configuration names the cluster. */
  readonly found: (cluster: KafkaCluster) => Partial<NonNullable<ConfigInput['kafka']>>;
}

/** What has to hold on three brokers of any kind. */
export function clusterSuite(kind: ClusterKind): void {
  describeWith([kind.need, 'redis'], kind.name, () => {
    let kafka: KafkaCluster;
    let redisServer: RedisServer;
    let redis: RedisClient;
    let running: RunningApp;
    let groupId = '';

    beforeAll(async () => {
      [kafka, redisServer] = await Promise.all([startKafka({ brokers: 3, ...kind.kafka }), startRedis()]);
      await kafka.createTopic(TOPIC, {
        partitions: PARTITIONS,
        replication: 3,
        settings: { 'min.insync.replicas': '2' },
      });
      redis = connectRedis({
        url: redisServer.url,
        name: 'test',
        connectTimeoutMs: 2_000,
        commandTimeoutMs: 10_000,
        onError: () => undefined,
      });
      await waitForRedis(redis, { what: 'Redis', timeoutMs: 5_000 });
      const config = aConfig(redisServer.url, { kafka: { topics: [TOPIC], ...kind.found(kafka) } });
      groupId = config.kafka?.groupId ?? '';
      running = await startApp(config);
    });
    afterAll(async () => {
      await running?.close();
      redis?.disconnect();
      await Promise.all([kafka?.stop(), redisServer?.stop()]);
    });

    it("takes the original's message from Kafka's own console producer through its five states into both tiers", async () => {
      await kafka.consoleProduce(TOPIC, [SEED]);
      const [row] = await running.finals(1);
      expect(row?.steps.map(({ from, to }) => [from, to])).toEqual([
        ['received', 'parsed'],
        ['parsed', 'fetched'],
        ['fetched', 'localCached'],
        ['localCached', 'redisCached'],
      ]);
      expect(row).toMatchObject({
        message: expect.stringMatching(/^cache-message-[012]@0$/),
        state: 'redisCached',
        service: 'productInfoService',
        recordId: '200',
        key: 'product_info_200',
        execution: 1,
      });
      expect(await redis.get('product_info_200')).toBe(SEED);
      expect(await running.app.parts.localTier.get('product_info_200')).toMatchObject({ text: SEED });
    });

    it('brings 10,000 messages to their end while one broker is killed: none is lost, no key is stale', async () => {
      const messages = flow();
      const atKill = { acknowledged: 0, final: 0 };
      const victim = await coordinatorOf(kafka.brokers, groupId);
      let death: Promise<void> | undefined;
      const producer = await produceTo(kafka.brokers);
      for (let at = 0; at < MESSAGES; at += BATCH) {
        const records = messages.slice(at, at + BATCH).map(({ text }) => ({ value: Buffer.from(text) }));
        // A producer that is told nothing sends again: a batch may come twice, never not at all.
        await waitFor(() => producer.send(TOPIC, (at / BATCH) % PARTITIONS, records).then(() => true), {
          what: 'Kafka to acknowledge',
          timeoutMs: 60_000,
        });
        if (at + BATCH === KILL_AT) {
          atKill.acknowledged = KILL_AT;
          await waitFor(() => running.finalCount() > 1, { what: 'messages to flow' });
          atKill.final = running.finalCount();
          death = kafka.killBroker(victim);
        }
      }
      await death;
      await producer.close();

      const survivors = kafka.brokers.filter((_, index) => index !== victim);
      const { brokers, offsets } = await withAdmin(survivors, async (admin) => ({
        ...(await admin.describeCluster()),
        offsets: await admin.fetchTopicOffsets(TOPIC),
      }));
      expect(brokers).toHaveLength(2);
      expect(atKill.final).toBeLessThan(MESSAGES);

      const written = offsets.flatMap(({ partition, high }) =>
        Array.from({ length: Number(high) }, (_, offset) => `${TOPIC}-${partition}@${offset}`),
      );
      expect(written.length).toBeGreaterThanOrEqual(MESSAGES + 1);
      const rows = await running.finals(written.length);
      const ends = new Map(rows.map(({ message, state }) => [message, state]));
      expect([...ends.keys()].sort()).toEqual(written.sort());
      expect(new Set(ends.values())).toEqual(new Set(['redisCached', 'superseded']));
      expect(new Set(rows.map(({ message, job, execution }) => `${message} ${job} ${execution}`)).size).toBe(
        rows.length,
      );

      const newest = new Map<string, (typeof messages)[number]>();
      for (const message of messages) {
        const key = `stock_${message.id}`;
        if (message.version > (newest.get(key)?.version ?? -1)) newest.set(key, message);
      }
      const keys = [...newest.keys()];
      expect(keys).toHaveLength(KEYS);
      const expected = keys.map((key) => newest.get(key)?.text);
      expect(await redis.mget(keys)).toEqual(expected);
      const local = await running.app.parts.localTier.getMany(keys);
      expect(local.filter((entry) => entry !== undefined).length).toBeGreaterThan(0);
      expect(local.map((entry, index) => entry?.text ?? expected[index])).toEqual(expected);
      expect(await running.openJobs()).toBe(0);
    });
  });
}

/** The broker a consumer group hangs on: the leader of its partition of the offsets topic. */
async function coordinatorOf(brokers: readonly string[], groupId: string): Promise<number> {
  const { topics } = await withAdmin(brokers, (admin) =>
    admin.fetchTopicMetadata({ topics: ['__consumer_offsets'] }),
  );
  const partitions = topics[0]?.partitions ?? [];
  const index = Math.abs(javaHash(groupId)) % partitions.length;
  const leader = partitions.find(({ partitionId }) => partitionId === index)?.leader;
  if (leader === undefined) throw new Error('the offsets topic has no leader');
  return leader - 1; // ids count from 1
}

function javaHash(text: string): number {
  let hash = 0;
  for (const letter of text) hash = (Math.imul(hash, 31) + letter.charCodeAt(0)) | 0;
  return hash;
}
