import { CompressionTypes, Kafka, logLevel } from 'kafkajs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { registerKafkaCodec } from '../../src/adapters/kafka-codecs.ts';
import { createKafkaProducer } from '../../src/adapters/kafka-producer.ts';
import { createKafkaSource } from '../../src/adapters/kafka-source.ts';
import { asError } from '../../src/core/errors.ts';
import type { BatchHandler, ChangeSource, SourceBatch } from '../../src/core/ports.ts';
import type { Gauge } from '../../src/ingest/back-pressure.ts';
import { createStallWatch } from '../../src/ingest/stall-watch.ts';
import { silentLog } from '../../src/testing/paths.ts';
import { clock, type Ingest, openQueue, rememberingLog, startIngest, values } from '../support/ingest.ts';
import { describeWith } from '../support/needs.ts';
import { produceTo } from '../support/produce.ts';
import { freePort, waitFor } from '../support/servers/process.ts';
import { sharedKafka, type SharedKafka, sharedRedis, uniqueName } from '../support/servers/shared.ts';
import { snappyCodec } from '../support/snappy.ts';

describeWith(['kafka', 'redis'], 'ingest from Kafka', () => {
  let kafka: SharedKafka;
  let producer: Awaited<ReturnType<typeof produceTo>>;
  let queue: ReturnType<typeof openQueue>;
  let running: Ingest[];
  let topic = '';
  let groupId = '';
  let start: (more?: { kafka?: object; source?: ChangeSource; gauges?: readonly Gauge[] }) => Promise<Ingest>;

  beforeEach(async () => {
    kafka = await sharedKafka();
    const { url } = await sharedRedis();
    topic = uniqueName('ingest');
    groupId = uniqueName('group');
    const prefix = `{${uniqueName('ingest')}}`;
    await kafka.createTopic(topic, { partitions: 2 });
    producer = await produceTo(kafka.brokers);
    queue = openQueue(url, prefix);
    running = [];
    start = async ({ kafka: more = {}, source, gauges = [] } = {}) => {
      const settings = { brokers: kafka.brokers, topics: [topic], groupId, ...more };
      const ingest = await startIngest({
        redisUrl: url,
        prefix,
        kafka: settings,
        gauges,
        ...(source !== undefined && { source }),
      });
      running.push(ingest);
      return ingest;
    };
  });
  afterEach(async () => {
    for (const each of running) await each.stop();
    await producer.close();
    await queue.close();
  });

  const send = (texts: readonly string[], partition = 0, compression?: CompressionTypes): Promise<void> =>
    producer.send(
      topic,
      partition,
      texts.map((text) => ({ value: Buffer.from(text) })),
      compression,
    );
  /** A source with something on the way of its batches to the hand-off. */
  const around = (step: (batch: SourceBatch, handler: BatchHandler) => Promise<void>): ChangeSource => {
    const source = createKafkaSource({
      brokers: kafka.brokers,
      topics: [topic],
      groupId,
      sessionTimeoutMs: 6_000,
      clock,
      log: silentLog,
    });
    return new Proxy(source, {
      get(target, name) {
        if (name === 'start') return (handler: BatchHandler) => target.start((batch) => step(batch, handler));
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  const texts = async (count: number) => (await queue.waitForMessages(count)).map(({ value }) => value);

  it.each([
    ['gzip', CompressionTypes.GZIP],
    ['lz4', CompressionTypes.LZ4],
    ['zstd', CompressionTypes.ZSTD],
  ])('reads what a producer compressed with %s', async (_, compression) => {
    await start();
    await send(values(50), 0, compression);
    expect(await texts(50)).toEqual(values(50));
  });

  it.each(['gzip', 'lz4', 'zstd'])("reads what Kafka's own producer compressed with %s", async (codec) => {
    await start();
    const lines = values(50, 'a longer line that repeats itself, repeats itself ');
    await kafka.consoleProduce(topic, lines, ['--compression-codec', codec]);
    expect(new Set(await texts(50))).toEqual(new Set(lines));
  });

  it('names a missing codec in log and health without a hot loop, and goes on by itself once it is registered', async () => {
    const lines = values(20, 'snappy snappy snappy ');
    await kafka.consoleProduce(topic, lines, ['--compression-codec', 'snappy']);
    const ingest = await start();
    await waitFor(() => !ingest.source.isHealthy().healthy, { what: 'the health to say so' });
    expect(ingest.source.isHealthy().reason).toBe(
      `E_CODEC_MISSING: The topic ${topic} holds messages compressed with snappy, for which no codec is set.`,
    );
    const crashes = () =>
      ingest.log.lines.filter(({ level, message }) => level === 'error' && message.includes('is built anew'));
    await waitFor(() => crashes().length >= 3, { what: 'three tries' });
    const [first, , third] = crashes().map(({ fields }) => ('waitMs' in fields ? Number(fields.waitMs) : 0));
    expect(third).toBeGreaterThan((first ?? 0) * 2);
    registerKafkaCodec('snappy', snappyCodec);
    expect(new Set(await texts(20))).toEqual(new Set(lines));
    await waitFor(() => ingest.source.isHealthy().healthy, {
      what: 'the health to return',
      timeoutMs: 30_000,
    });
  });

  it('waits in front of a batch that unpacks to more than is allowed, and says so', async () => {
    await send(['x'.repeat(900_000)], 0, CompressionTypes.GZIP);
    const ingest = await start({ kafka: { maxUnpackedBytes: 100_000 } });
    await waitFor(() => !ingest.source.isHealthy().healthy, { what: 'the health to say so' });
    expect(ingest.source.isHealthy().reason).toBe(
      `E_BATCH_TOO_LARGE: A gzip batch of topic ${topic} unpacks to more than 100000 bytes.`,
    );
    expect(await queue.seen()).toEqual([]);
  });

  it('shares partitions with a second instance without losing or doubling a message', async () => {
    await start();
    await send(values(200), 0);
    await send(values(200, 'w'), 1);
    const second = start();
    await send(values(200, 'v', 200), 0);
    await send(values(200, 'w', 200), 1);
    const ingest = await second;
    await waitFor(() => ingest.source.assignments().some(({ partitions }) => partitions.length === 1), {
      what: 'the second one to get a partition',
      timeoutMs: 30_000,
    });
    await send(values(50, 'v', 400), 0);
    await send(values(50, 'w', 400), 1);
    const all = await texts(900);
    expect(all).toEqual([...values(450), ...values(450, 'w')]);
  });

  it('gets over batches of only control and aborted records: no lag is left, and the watch leaves it alone', async () => {
    const client = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING });
    const transactional = client.producer({
      transactionalId: uniqueName('tx'),
      idempotent: true,
      maxInFlightRequests: 1,
    });
    await transactional.connect();
    const transact = async (text: string, end: 'commit' | 'abort'): Promise<void> => {
      const transaction = await transactional.transaction();
      await transaction.send({ topic, messages: [{ value: text, partition: 0 }] });
      await transaction[end]();
    };
    const ingest = await start();
    await transact('kept', 'commit');
    expect(await texts(1)).toEqual(['kept']);
    await transact('gone', 'abort');
    const high = async () => (await ingest.source.partition(topic, 0).bounds()).high;
    await waitFor(async () => (await high()) === '4', { what: 'the markers' });
    await waitFor(
      () => ingest.source.positions().some(({ partition, resolved }) => partition === 0 && resolved === '4'),
      { what: 'the position after the markers' },
    );
    const watch = createStallWatch({ source: ingest.source, patienceMs: 0, clock, log: silentLog });
    await watch.look();
    expect(await watch.look()).toBe('');
    await transactional.disconnect();
  });

  it('leaves a zombie without harm: evicted by the group, its mark does not move and its commit is refused', async () => {
    await send(values(5));
    const held = Promise.withResolvers<void>();
    let isHeld = false;
    // What a blocked event loop does: no heartbeats, and then it goes on as if nothing had happened.
    const frozen = around(async (batch, handler) => {
      if (!isHeld) {
        isHeld = true;
        await held.promise;
      }
      await handler({ ...batch, heartbeat: () => Promise.resolve() });
    });
    const zombie = await start({ source: frozen });
    await waitFor(() => isHeld, { what: 'the zombie to freeze' });
    const owner = await start();
    expect(await texts(5)).toEqual(values(5));
    await waitFor(async () => (await owner.source.partition(topic, 0).committed()) === '5', {
      what: 'the owner to commit',
    });
    await send(values(5, 'v', 5));
    await texts(10);
    held.resolve();
    await send(values(5, 'v', 10));
    expect(await texts(15)).toEqual(values(15));
    await waitFor(async () => (await owner.source.partition(topic, 0).committed()) === '15', {
      what: 'the last commit',
      timeoutMs: 30_000,
    });
    expect([...owner.decisions(), ...zombie.decisions()]).toEqual([]);
  });

  it('builds a consumer anew that ended for good by a TypeError inside kafkajs, and loses nothing', async () => {
    await send(values(5));
    const log = rememberingLog();
    let thrown = 0;
    // Its own line about the join, written from the depth of its consumer group.
    const breaking = (fields: object, message: string): void => {
      log.debug(fields, message);
      if (!message.includes('has joined the group') || thrown > 0) return;
      thrown += 1;
      throw new TypeError('planted');
    };
    const source = createKafkaSource({
      brokers: kafka.brokers,
      topics: [topic],
      groupId,
      sessionTimeoutMs: 6_000, // kafkajs does not leave the group then
      clock,
      log: { ...log, debug: breaking },
    });
    await start({ source });
    expect(await texts(5)).toEqual(values(5));
    expect(thrown).toBe(1);
    const rebuilt = log.lines.filter(({ message }) => message.includes('is built anew'));
    expect(rebuilt[0]).toMatchObject({ level: 'error', message: expect.stringContaining('planted') });
    await waitFor(() => source.isHealthy().healthy, { what: 'the health to return', timeoutMs: 30_000 });
  });

  it('gives partitions away in the middle of a batch that waits, and both go on without a loss', async () => {
    await send(values(20), 0);
    await send(values(20, 'w'), 1);
    let level = 1;
    const gauge = { name: 'held', high: 0, low: 0, read: () => Promise.resolve(level) };
    const first = await start({ gauges: [gauge] });
    await waitFor(() => first.events.filter(({ kind }) => kind === 'waiting').length >= 2, {
      what: 'both of its batches to wait',
      timeoutMs: 30_000,
    });
    const second = await start();
    const own = () => second.source.assignments().flatMap(({ partitions }) => partitions);
    await waitFor(() => own().length === 1, { what: 'the second one to get a partition', timeoutMs: 30_000 });
    // The second is not held up by what the first waits for.
    expect(await texts(20)).toEqual(values(20, own()[0] === 0 ? 'v' : 'w'));
    level = 0;
    expect(await texts(40)).toEqual([...values(20), ...values(20, 'w')]);
    expect([...first.decisions(), ...second.decisions()]).toEqual([]);
  });

  it('goes on behind its mark when the commit was lost, without a message twice', async () => {
    await send(values(5));
    const lost = around((batch, handler) =>
      handler({ ...batch, commit: () => Promise.reject(new Error('lost')) }),
    );
    const first = await start({ source: lost });
    expect(await texts(5)).toEqual(values(5));
    await first.stop();
    running.pop();
    const second = await start();
    await send(values(5, 'v', 5));
    expect(await texts(10)).toEqual(values(10));
    const committed = () => second.source.partition(topic, 0).committed();
    await waitFor(async () => (await committed()) === '10', { what: 'the commit', timeoutMs: 30_000 });
    expect(await queue.seen()).toHaveLength(10);
    expect(second.decisions()).toEqual([]);
  });

  it('restarts a consumer that has unread messages and does not move, and says why', async () => {
    let hung = 0;
    // What a handler does that waits for something that never comes.
    const source = around(async (batch, handler) => {
      hung += 1;
      if (hung > 1) return handler(batch);
      await new Promise((resolve) => batch.signal.addEventListener('abort', resolve, { once: true }));
    });
    const ingest = await start({ source });
    await send(values(5));
    await waitFor(() => hung > 0, { what: 'the first batch', timeoutMs: 30_000 });
    const reasons: string[] = [];
    const watch = createStallWatch({
      source,
      everyMs: 100,
      patienceMs: 1_000,
      onRestart: ({ partition }, reason) => reasons.push(`${partition}: ${reason}`),
      clock,
      log: ingest.log,
    });
    const stop = new AbortController();
    const watching = watch.run(stop.signal);
    expect(await texts(5)).toEqual(values(5));
    stop.abort();
    await watching;
    expect(reasons[0]).toMatch(
      new RegExp(`^0: ${topic}/0 has unread messages and has not moved for \\d+ s$`),
    );
    const errors = ingest.log.lines.filter(({ message }) => message === 'restarting the consumer');
    expect(errors.map(({ level }) => level)).toEqual(reasons.map(() => 'error'));
  });

  it('says which brokers it waits for, and stops waiting when it is closed', async () => {
    const log = rememberingLog();
    const address = `127.0.0.1:${await freePort()}`;
    const source = createKafkaSource({ brokers: [address], topics: [topic], groupId, clock, log });
    const starting = source.start(() => Promise.resolve());
    const ended = starting.then(
      () => 'joined',
      (error: unknown) => asError(error).code,
    );
    await waitFor(() => log.lines.some(({ message }) => message === `waiting for Kafka at ${address}`), {
      what: 'the line',
    });
    await source.close();
    expect(await ended).toBe('E_ABORTED');
  });

  it('publishes, says where, and names a topic that is not there', async () => {
    const publisher = createKafkaProducer({ brokers: kafka.brokers, log: silentLog });
    const published = await publisher.send(topic, [
      { key: 'k', value: 'one', headers: { h: '1' } },
      { key: 'k', value: null, timestampMs: 5 },
    ]);
    expect(published).toEqual([{ topic, partition: expect.any(Number), baseOffset: '0', indexes: [0, 1] }]);
    await expect(publisher.send(`${topic}-nowhere`, [{ value: 'x' }])).rejects.toMatchObject({
      code: 'E_TOPIC_MISSING',
    });
    await publisher.close();
    await start();
    const [first, second] = await queue.waitForMessages(2);
    expect([first?.value, second?.value]).toEqual(['one', null]);
  });
});
