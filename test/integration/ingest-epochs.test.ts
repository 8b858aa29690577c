import { afterEach, beforeEach, expect, it } from 'vitest';
import { createKafkaProducer, type KafkaProducer } from '../../src/adapters/kafka-producer.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { type Ingest, openQueue, startIngest, values } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { withAdmin } from '../support/servers/kafka-tools.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedKafka, type SharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';

describeWith(['kafka', 'redis'], 'a log that is not what it was', () => {
  let kafka: SharedKafka;
  let producer: KafkaProducer;
  let queue: ReturnType<typeof openQueue>;
  let running: Ingest | undefined;
  let topic = '';
  let start: () => Promise<Ingest>;
  const send = async (...texts: string[]): Promise<void> => {
    await producer.send(
      topic,
      texts.map((value) => ({ value })),
    );
  };
  const dropBefore = (offset: string): Promise<void> =>
    withAdmin(kafka.brokers, async (admin) => {
      await admin.fetchTopicOffsets(topic); // loads the metadata that the next call needs
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    });
  const positions = async (count: number) =>
    (await queue.waitForMessages(count)).map(
      ({ epoch, position, value }) => `${epoch}:${position}=${String(value)}`,
    );

  beforeEach(async () => {
    kafka = await sharedKafka();
    const { url } = await sharedRedis();
    topic = uniqueName('epochs');
    const [groupId, prefix] = [uniqueName('group'), `{${uniqueName('ingest')}}`];
    await kafka.createTopic(topic);
    producer = createKafkaProducer({ brokers: kafka.brokers, log: silentLog });
    queue = openQueue(url, prefix);
    start = async () => {
      running = await startIngest({
        redisUrl: url,
        prefix,
        kafka: { brokers: kafka.brokers, topics: [topic], groupId, identityMs: 500 },
      });
      return running;
    };
    groupOf = () => groupId;
  });
  let groupOf = (): string => '';
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    await producer.close();
    await queue.close();
  });

  it('goes on where it was after an orderly stop, without a message twice', async () => {
    await send(...values(3));
    const first = await start();
    await queue.waitForMessages(3);
    await first.stop();
    await send('v3');
    const second = await start();
    expect(await positions(4)).toEqual(['0:0=v0', '0:1=v1', '0:2=v2', '0:3=v3']);
    expect(second.decisions()).toEqual([]);
  });

  it("obeys offsets set back with Kafka's own tool, in a new epoch", async () => {
    await send(...values(5));
    const first = await start();
    await queue.waitForMessages(5);
    await first.stop();
    await kafka.resetOffsets(groupOf(), topic, ['--to-offset', '3']);
    const second = await start();
    expect(await positions(7)).toEqual([
      '0:0=v0',
      '0:1=v1',
      '0:2=v2',
      '0:3=v3',
      '0:4=v4',
      '1:3=v3',
      '1:4=v4',
    ]);
    expect(second.decisions()).toEqual(['rewound']);
  });

  it('reads a topic that was made anew while it was stopped from its beginning', async () => {
    await send(...values(5));
    const first = await start();
    await queue.waitForMessages(5);
    await first.stop();
    await kafka.deleteTopic(topic);
    await kafka.createTopic(topic);
    await send('n0', 'n1');
    const second = await start();
    expect((await positions(7)).slice(5)).toEqual(['1:0=n0', '1:1=n1']);
    expect(second.decisions()).toEqual(['recreated']);
  });

  it('notices a new topic even when it has grown beyond the old mark', async () => {
    await send(...values(3));
    const first = await start();
    await queue.waitForMessages(3);
    await first.stop();
    await kafka.deleteTopic(topic);
    await kafka.createTopic(topic);
    await send(...values(6, 'n'));
    const second = await start();
    expect((await positions(9)).slice(3)).toEqual(
      values(6, 'n').map((value, index) => `1:${index}=${value}`),
    );
    expect(second.decisions()).toEqual(['recreated']);
  });

  it('reads a topic that is made anew under the running consumer from its beginning', async () => {
    await send(...values(5));
    const ingest = await start();
    await queue.waitForMessages(5);
    await kafka.deleteTopic(topic);
    await kafka.createTopic(topic);
    await send(...values(7, 'n'));
    expect((await positions(12)).slice(5)).toEqual(
      values(7, 'n').map((value, index) => `1:${index}=${value}`),
    );
    expect(ingest.decisions()).toEqual(['recreated']);
  });

  it('notices a new topic behind a partition that was paused', async () => {
    await send(...values(3));
    const ingest = await start();
    await queue.waitForMessages(3);
    const resume = ingest.source.partition(topic, 0).pause();
    await kafka.deleteTopic(topic);
    await kafka.createTopic(topic);
    await send(...values(6, 'n'));
    resume();
    await waitFor(() => ingest.decisions().includes('recreated'), {
      what: 'the new topic to be noticed',
      timeoutMs: 20_000,
    });
    const found = new Set(await positions(9));
    for (const [index, value] of values(6, 'n').entries()) expect(found).toContain(`1:${index}=${value}`);
  });

  it('says how many messages retention removed unread, and goes on after them', async () => {
    await send(...values(3));
    const first = await start();
    await queue.waitForMessages(3);
    await first.stop();
    await send(...values(4, 'v', 3));
    await dropBefore('5');
    const second = await start();
    expect((await positions(5)).slice(3)).toEqual(['0:5=v5', '0:6=v6']);
    expect(second.events).toContainEqual(
      expect.objectContaining({ kind: 'taken', decision: 'expired', lost: 2, from: '5' }),
    );
  });

  it('notices retention that overtakes the running consumer', async () => {
    await send(...values(3));
    const ingest = await start();
    await queue.waitForMessages(3);
    const resume = ingest.source.partition(topic, 0).pause();
    await send(...values(4, 'v', 3));
    await dropBefore('6');
    resume();
    await waitFor(() => ingest.decisions().includes('expired'), {
      what: 'the loss to be told',
      timeoutMs: 20_000,
    });
    expect((await positions(4)).slice(3)).toEqual(['0:6=v6']);
  });
});
