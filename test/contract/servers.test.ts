import { connect } from 'node:net';
import { Kafka, logLevel } from 'kafkajs';
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { describeWith } from '../support/needs.ts';
import { startHttpSource } from '../support/servers/http-source.ts';
import { startPostgres } from '../support/servers/postgres.ts';
import { startChild, waitFor } from '../support/servers/process.ts';
import { startProxy } from '../support/servers/proxy.ts';
import { startRedis, startRedisCluster } from '../support/servers/redis.ts';
import { sharedKafka, sharedPostgres, uniqueName } from '../support/servers/shared.ts';

/** Whether somebody listens on this port. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

describe('waiting and processes', () => {
  it('gives up with what it waited for and why', async () => {
    const wait = waitFor(() => Promise.reject(new Error('not yet')), { what: 'a miracle', timeoutMs: 30 });
    await expect(wait).rejects.toThrow(/waiting for a miracle/);
  });

  it('reports a server that dies while we wait for it, with its log', async () => {
    const child = startChild({ name: 'dies', command: 'sh', args: ['-c', 'echo last words; exit 3'] });
    await expect(child.waitUntil(() => false, { what: 'readiness' })).rejects.toThrow(
      /ended \(3\)[^]*last words/,
    );
  });
});

describeWith(['redis'], 'a private Redis', () => {
  it('answers, keeps its data over a crash, and is gone after stop', async () => {
    const redis = await startRedis({ appendonly: true });
    expect(await redis.ask('SET a 1')).toBe('+OK\r\n');
    await redis.kill();
    await redis.restart();
    expect(await redis.ask('GET a')).toBe('$1\r\n1\r\n');
    await redis.stop();
    await expect(redis.ask('PING')).rejects.toThrow(/ECONNREFUSED/);
  });

  it('dies with the process that started it, even when that is killed with -9', async () => {
    const redisModule = JSON.stringify(import.meta.resolve('../support/servers/redis.ts'));
    const script = `import { startRedis } from ${redisModule}; console.log('port=' + (await startRedis()).port + '.');`;
    const parent = startChild({
      name: 'parent',
      command: process.execPath,
      args: ['--input-type=module', '-e', script],
    });
    const port = await parent.waitUntil(() => /port=(\d+)\./.exec(parent.logTail())?.[1], {
      what: 'a server',
      timeoutMs: 20_000,
    });
    expect(await accepts(Number(port))).toBe(true);
    await parent.kill();
    await waitFor(async () => !(await accepts(Number(port))), { what: 'the orphan to die' });
  });

  it('forms a cluster of three masters', async () => {
    const cluster = await startRedisCluster(3);
    const [first] = cluster.nodes;
    expect(await first?.ask('CLUSTER INFO')).toContain('cluster_size:3');
    await cluster.stop();
  });
});

describeWith(['postgres'], 'a private Postgres', () => {
  it('answers, also after a crash, and is gone after stop', async () => {
    const postgres = await startPostgres();
    await postgres.kill();
    await postgres.restart();
    const client = new Client({ connectionString: await postgres.createDatabase('one') });
    await client.connect();
    expect((await client.query('select current_database() as name')).rows).toEqual([{ name: 'one' }]);
    await client.end();
    await postgres.stop();
    await expect(new Client({ connectionString: postgres.url }).connect()).rejects.toThrow(/ECONNREFUSED/);
  });
});

describeWith(['postgres'], 'the shared Postgres', () => {
  it('hands out an empty database each time', async () => {
    const urls = await Promise.all([sharedPostgres(), sharedPostgres()]);
    expect(new Set(urls).size).toBe(2);
    const client = new Client({ connectionString: urls[0] });
    await client.connect();
    expect((await client.query("select from pg_tables where schemaname = 'public'")).rowCount).toBe(0);
    await client.end();
  });
});

describeWith(['kafka'], 'the shared Kafka', () => {
  it('takes messages from its own console producer and resets offsets', async () => {
    const kafka = await sharedKafka();
    const [topic, groupId] = [uniqueName('topic'), uniqueName('group')];
    await kafka.createTopic(topic, { partitions: 2 });
    await kafka.consoleProduce(topic, ['one', 'two']);
    await kafka.resetOffsets(groupId, topic, ['--to-earliest']);

    const consumer = new Kafka({
      clientId: 'test',
      brokers: [...kafka.brokers],
      logLevel: logLevel.NOTHING,
    }).consumer({ groupId });
    const seen: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic });
    await consumer.run({ eachMessage: async ({ message }) => void seen.push(String(message.value)) });
    await waitFor(() => seen.length === 2, { what: 'both messages', timeoutMs: 20_000 });
    await consumer.disconnect();
    expect(seen.sort()).toEqual(['one', 'two']);
    await kafka.deleteTopic(topic);
  });
});

describe('the HTTP source', () => {
  it('serves one record and batches, counts, and misbehaves on request', async () => {
    const source = await startHttpSource({ slowMs: 50, hugeBytes: 1_000_000 });
    source.put('1', { id: '1', name: 'one' });
    source.putText('2', '{"id":"2","version":9007199254740993}');
    const get = async (path: string): Promise<string> =>
      (await fetch(`${source.url}${path}`, { redirect: 'manual' })).text();

    expect(await get('/shops/2')).toContain('9007199254740993');
    expect(JSON.parse(await get('/shops?ids=1,2,3'))).toMatchObject({ data: [{ id: '1' }, { id: '2' }] });
    expect([source.requests(), source.fetches('2'), source.fetches('3')]).toEqual([2, 2, 1]);

    source.setMode('notFound', '1');
    expect((await fetch(`${source.url}/shops/1`)).status).toBe(404);
    expect(JSON.parse(await get('/shops?ids=1,2'))).toMatchObject({ data: [{ id: '2' }] });
    source.failNext(1, 503);
    expect((await fetch(`${source.url}/shops/2`)).status).toBe(503);

    source.setMode('truncated');
    await expect(get('/shops/2')).rejects.toThrow(/terminated/);
    source.setMode('huge');
    expect((await get('/shops/2')).length).toBeGreaterThan(1_000_000);
    source.setMode('wrongIds');
    expect(await get('/shops/2')).toContain('somebody-else');
    source.setMode('slow');
    await Promise.all([get('/shops/2'), get('/shops/2')]);
    expect(source.maxConcurrency()).toBeGreaterThanOrEqual(2);
    await source.stop();
  });
});

describe('the proxy', () => {
  it('cuts, swallows replies and blocks, and can prove it', async () => {
    const source = await startHttpSource();
    const proxy = await startProxy(source.port);
    source.put('1', { id: '1' });
    const get = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${proxy.port}/shops/1`, { headers: { connection: 'close' } })).text();
    expect(await get()).toBe('{"id":"1"}');

    proxy.dropReplies();
    const unknown = get().catch((error: Error) => error);
    await waitFor(() => proxy.droppedBytes() > 0, { what: 'a swallowed reply' });
    expect(source.fetches('1')).toBe(2);
    proxy.unblock();
    expect(await unknown).toBeInstanceOf(Error);

    proxy.refuse();
    await expect(get()).rejects.toThrow(/fetch failed/);
    proxy.unblock();
    expect(await get()).toBe('{"id":"1"}');
    await proxy.stop();
    await source.stop();
  });
});
