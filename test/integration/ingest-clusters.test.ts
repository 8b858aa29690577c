import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Ingest, openQueue, startIngest, values } from '../support/ingest.ts';
import { type KafkaAt, startKafkaAt } from '../support/kafka-at.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { freePort, waitFor } from '../support/servers/process.ts';
import { sharedRedis, uniqueName } from '../support/servers/shared.ts';

const TOPIC = 'clusters';

describeWith(['kafka', 'redis'], 'another cluster behind the same address', () => {
  let port: number;
  let cluster: KafkaAt;
  let queue: ReturnType<typeof openQueue>;
  let running: Ingest | undefined;
  let start: () => Promise<Ingest>;

  const openCluster = async (texts: readonly string[]): Promise<void> => {
    cluster = await startKafkaAt(port);
    await cluster.createTopic(TOPIC);
    const producer = await produceTo([cluster.address]);
    await producer.send(
      TOPIC,
      0,
      texts.map((text) => ({ value: Buffer.from(text) })),
    );
    await producer.close();
  };
  const found = async (count: number) =>
    (await queue.waitForMessages(count, 90_000)).map(
      ({ epoch, position, value }) => `${epoch}:${position}=${String(value)}`,
    );

  beforeEach(async () => {
    port = await freePort();
    const { url } = await sharedRedis();
    const prefix = `{${uniqueName('ingest')}}`;
    queue = openQueue(url, prefix);
    start = async () => {
      const kafka = { brokers: [`127.0.0.1:${port}`], topics: [TOPIC], groupId: 'g', identityMs: 1_000 };
      running = await startIngest({ redisUrl: url, prefix, kafka });
      return running;
    };
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    await queue.close();
    await cluster.kill();
  });

  // The new log is longer than the old mark: by offsets alone nothing would look wrong.
  const old = values(3, 'a');
  const other = values(6, 'b');
  const expected = [
    ...old.map((value, at) => `0:${at}=${value}`),
    ...other.map((value, at) => `1:${at}=${value}`),
  ];

  it('is read from its beginning, in a new epoch, when it came while ingest was stopped', async () => {
    await openCluster(old);
    const first = await start();
    await found(3);
    await first.stop();
    await cluster.kill();
    await openCluster(other);
    const second = await start();
    expect(await found(9)).toEqual(expected);
    expect(second.decisions()).toEqual(['otherCluster']);
  });

  it('is read from its beginning, in a new epoch, when it came under the running consumer', async () => {
    await openCluster(old);
    const ingest = await start();
    const before = ingest.source.clusterId;
    await found(3);
    await cluster.kill();
    await openCluster(other);
    await waitFor(() => ingest.decisions().includes('otherCluster'), {
      what: 'the other cluster to be noticed',
      timeoutMs: 90_000,
    });
    // In which epoch depends on what it saw first: the topic of the other cluster, or that it is another cluster.
    const all = await waitFor(
      async () => {
        const texts = await found(9);
        return texts.some((text) => text.endsWith(`:5=${other[5]}`) && !text.startsWith('0:')) && texts;
      },
      { what: 'the other log to be read to its end', timeoutMs: 90_000 },
    );
    const last = all.at(-1)?.split(':')[0] ?? '';
    expect(Number(last)).toBeGreaterThan(0);
    expect(all).toEqual(
      expect.arrayContaining([
        ...expected.slice(0, 3),
        ...other.map((value, at) => `${last}:${at}=${value}`),
      ]),
    );
    expect(ingest.source.clusterId).not.toBe(before);
  });
});
